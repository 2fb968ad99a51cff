"""Model folders: both layouts alike, the official names and shapes, and every way in which a folder can be wrong."""

import json
import mmap
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minioss
from minioss.checkpoint import layouts
from minioss.checkpoint.checking import find_not_finite
from minioss.checkpoint.loading import open_checkpoint
from minioss.checkpoint.safetensors import SafetensorsFile, header
from minioss.checkpoint.shards import INDEX
from minioss.model import Model
from tests.models import change_bytes, nmse, small_config, synthesize, write_sparse

IDS = np.arange(50)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("folders")


@pytest.fixture(scope="module")
def good(folder):
    return synthesize(folder, small_config())


@pytest.fixture
def copy(good, tmp_path):
    return shutil.copytree(good, tmp_path / "copy")


# Both layouts, dense and quantised, one file or many


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dense", [False, True])
def test_both_layouts_give_identical_bits(folder, dense, dtype):
    config = small_config(num_attention_heads=10, num_key_value_heads=5, head_dim=32)
    outs = [synthesize(folder, config, layout=layout, dense=dense) for layout in ("huggingface", "original")]
    first, second = (minioss.load(out, dtype=dtype)(IDS) for out in outs)
    assert np.array_equal(first, second)


@pytest.mark.parametrize("layout", ["huggingface", "original"])
def test_dense_and_mxfp4_files_of_the_same_values_agree(folder, layout):
    mxfp4, dense = (synthesize(folder, small_config(), layout=layout, dense=dense) for dense in (False, True))
    assert not open_checkpoint(dense).mxfp4
    exact = minioss.load(mxfp4, dtype="float64")(IDS)
    assert np.abs(minioss.load(dense, dtype="float64")(IDS) - exact).max() < 1e-11
    assert nmse(minioss.load(dense)(IDS), exact) < 1e-10


def rewritten(source, out, convert, files=1):
    """The same checkpoint with converted float tensors, in several files."""
    out.mkdir()
    checkpoint = open_checkpoint(source)
    for name in ("config.json", "generation_config.json"):
        shutil.copy(source / name, out)
    names = checkpoint.shards.names
    file_of = {}
    for number in range(files):
        chosen, data = {}, []
        for name in names[number::files]:
            tensor = checkpoint.shards.tensor(name)
            array = tensor if checkpoint.shards.entry(name).dtype == "U8" else convert(tensor.decode())
            chosen[name] = ({"u1": "U8", "f4": "F32", "f2": "F16"}[array.dtype.str[1:]], array.shape)
            data.append(array)
            file_of[name] = f"part-{number}.safetensors"
        with open(out / f"part-{number}.safetensors", "wb") as file:
            file.write(header(chosen))
            for array in data:
                file.write(array.tobytes())
    return out, file_of


@pytest.mark.parametrize("dense", [False, True])
def test_float32_float16_and_bfloat16_weights(folder, tmp_path, dense):
    source = synthesize(folder, small_config(), dense=dense)
    exact = minioss.load(source, dtype="float64")(IDS)
    single, _ = rewritten(source, tmp_path / "single", lambda values: values)
    assert np.array_equal(minioss.load(single, dtype="float64")(IDS), exact)
    half, _ = rewritten(source, tmp_path / "half", lambda values: values.astype(np.float16))
    expected, _ = rewritten(source, tmp_path / "expected", lambda values: values.astype(np.float16).astype(np.float32))
    assert np.array_equal(minioss.load(half)(IDS), minioss.load(expected)(IDS))
    assert open_checkpoint(half).shards.entry("lm_head.weight").dtype == "F16"


def test_several_files_with_and_without_an_index(good, tmp_path):
    expected = minioss.load(good, dtype="float64")(IDS)
    out, file_of = rewritten(good, tmp_path / "many", lambda values: values, files=3)
    assert np.array_equal(minioss.load(out, dtype="float64")(IDS), expected)
    (out / INDEX).write_text(json.dumps({"weight_map": file_of}))
    (out / "unrelated.safetensors").write_bytes(b"broken, but not in the index")
    assert np.array_equal(minioss.load(out, dtype="float64")(IDS), expected)


def test_a_folder_with_both_layouts_is_read_as_huggingface(good, folder, tmp_path):
    both = shutil.copytree(good, tmp_path / "both")
    shutil.copytree(synthesize(folder, small_config(), layout="original"), both / "original")
    assert open_checkpoint(both).layout == "huggingface"
    assert open_checkpoint(both / "original").layout == "original"
    assert np.array_equal(minioss.load(both)(IDS), minioss.load(both / "original")(IDS))


def test_nothing_is_expanded_at_load(good):
    model = minioss.load(good)
    arrays = [model.weights.embedding.bits, model.weights.layers[1].experts.gate_up.blocks]
    arrays += [model.weights.layers[0].attention.query.weight.bits, model.weights.layers[2].router.bias.bits]
    assert all(isinstance(_owner(array), mmap.mmap) and not array.flags.writeable for array in arrays)


def _owner(array):
    while isinstance(array, np.ndarray):
        array = array.base
    return array.obj if isinstance(array, memoryview) else array


def test_stop_tokens_come_from_the_folder(good, copy):
    assert minioss.load(copy).stop_tokens == ()
    (copy / "generation_config.json").write_text('{"eos_token_id": [5, 6]}')
    assert minioss.load(copy).stop_tokens == (5, 6)
    (copy / "generation_config.json").write_text('{"eos_token_id": 7}')
    assert minioss.load(copy).stop_tokens == (7,)
    (copy / "generation_config.json").write_text('{"eos_token_id": "</s>"}')
    with pytest.raises(minioss.InputError, match="eos_token_id is .*; expected an integer or a list"):
        minioss.load(copy)


def test_the_original_folder_uses_the_stop_tokens_of_the_one_above(folder, tmp_path):
    shutil.copytree(synthesize(folder, small_config(), layout="original"), tmp_path / "original")
    assert minioss.load(tmp_path / "original").stop_tokens == ()
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [5]}')
    assert minioss.load(tmp_path / "original").stop_tokens == (5,)


# 120b: names, shapes and index at full size, without its 65 GB


@pytest.mark.parametrize(("preset", "gigabytes"), [("20b", 13.76), ("120b", 65.25)])
@pytest.mark.parametrize("layout", ["huggingface", "original"])
def test_the_released_models_at_full_shape(tmp_path, preset, gigabytes, layout, monkeypatch):
    """Sparse files of the full size, in several shards: everything but the numbers."""
    from minioss.checkpoint import whole, writing

    monkeypatch.setattr(writing.safetensors, "write", write_sparse)
    monkeypatch.setattr(whole.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 0, 10**12))
    out = tmp_path / preset
    minioss.synthesize(out, minioss.preset(preset), layout=layout)
    checkpoint = open_checkpoint(out)
    assert checkpoint.config == minioss.preset(preset) and checkpoint.mxfp4
    assert len(checkpoint.shards.files) == (15 if preset == "120b" else 3)
    assert (out / INDEX).exists() == (layout == "huggingface")
    stored = sum(entry.stop - entry.start for entry in map(checkpoint.shards.entry, checkpoint.shards.names))
    assert stored / 1e9 == pytest.approx(gigabytes, abs=0.01)
    model = minioss.load(out)
    assert isinstance(model, Model) and len(model.weights.layers) == checkpoint.config.num_hidden_layers
    experts, layers = checkpoint.config.num_local_experts, checkpoint.config.num_hidden_layers
    assert model.weights.layers[layers - 1].experts.gate_up.shape == (experts, 5760, 2880)
    assert model.weights.layers[0].attention.key.weight.shape == (512, 2880)


def test_the_official_names_of_the_120b():
    names = {
        layout: [tensor.name for tensor in layouts.tensors(minioss.preset("120b"), layout, True)]
        for layout in ("huggingface", "original")
    }
    assert len(names["huggingface"]) == 3 + 36 * 19 and len(names["original"]) == 3 + 36 * 15
    assert {
        "model.layers.35.mlp.experts.gate_up_proj_blocks",
        "lm_head.weight",
        "model.layers.0.self_attn.sinks",
    } <= set(names["huggingface"])
    assert {"block.35.mlp.mlp1_weight.blocks", "unembedding.weight", "block.0.attn.qkv.bias"} <= set(names["original"])


# What can be wrong


def change_json(folder, name, **changes):
    path = folder / name
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))


def retold(folder, change):
    """Rewrite the header of the folder's file, data untouched."""
    path = folder / "model.safetensors"
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    entries = json.loads(content[8 : 8 + size])
    change(entries)
    text = json.dumps(entries).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])


def refused(folder, *parts):
    with pytest.raises(minioss.InputError) as caught:
        minioss.load(folder)
    for part in parts:
        assert part in str(caught.value), str(caught.value)


def test_no_folder(tmp_path, copy):
    refused(tmp_path / "nowhere", "there is no folder", "nowhere")
    refused(copy / "config.json", "is a file; expected the folder that holds config.json")


def test_no_config(copy):
    (copy / "config.json").rename(copy / "gone")
    refused(copy, "has no config.json")
    (copy / "original").mkdir()
    (copy / "gone").rename(copy / "original" / "config.json")
    refused(copy, "has no config.json; did you mean its folder 'original'?")


@pytest.mark.parametrize("text", ["{", "", "[" * 100_000, '"\udcff"'])
def test_a_config_that_does_not_parse(copy, text):
    (copy / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    refused(copy, "config.json is not JSON")


def test_a_config_of_another_kind(copy):
    (copy / "config.json").write_text("[]")
    refused(copy, "config.json holds list; expected an object")
    (copy / "config.json").write_text('{"model_type": "gpt2"}')
    refused(copy, "config.json: model_type is 'gpt2'; expected 'gpt_oss'")


def test_no_weights(copy):
    (copy / "model.safetensors").unlink()
    refused(copy, "has no *.safetensors file")


def test_a_missing_tensor(copy):
    def forget(entries):
        entries["another"] = entries.pop("model.layers.1.self_attn.sinks")

    retold(copy, forget)
    refused(copy, "model.layers.1.self_attn.sinks is in none of the files", "model.safetensors")


def test_a_wrong_shape(copy):
    change_json(copy, "config.json", num_local_experts=16)
    refused(
        copy, "model.layers.0.mlp.router.weight has shape (8, 96); expected (num_local_experts, hidden_size) = (16, 96)"
    )


def test_a_wrong_type(copy):
    def lie(entries):
        entry = entries["model.layers.0.mlp.router.weight"]
        entry["dtype"], entry["shape"] = "U8", [8, 192]

    retold(copy, lie)
    refused(copy, "model.layers.0.mlp.router.weight has shape (8, 192)")

    def lie_better(entries):
        entries["model.layers.0.mlp.experts.down_proj_scales"]["dtype"] = "F8_E8M0"

    retold(copy, lambda entries: entries["model.layers.0.mlp.router.weight"].update(dtype="BF16", shape=[8, 96]))
    retold(copy, lie_better)
    refused(copy, "model.layers.0.mlp.experts.down_proj_scales has type F8_E8M0; expected U8")


def test_a_truncated_file(copy):
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    refused(copy, "model.safetensors ends at byte", "the file is truncated")
    path.write_bytes(path.read_bytes()[:100])
    refused(copy, "the file is truncated or not safetensors")


def test_a_missing_shard(good, tmp_path):
    out, file_of = rewritten(good, tmp_path / "many", lambda values: values, files=3)
    (out / INDEX).write_text(json.dumps({"weight_map": file_of}))
    (out / "part-2.safetensors").unlink()
    refused(out, "part-2.safetensors is missing; model.safetensors.index.json names it")


def test_an_index_that_lies(good, tmp_path):
    out, file_of = rewritten(good, tmp_path / "many", lambda values: values, files=2)
    name = "lm_head.weight"
    wrong = {"part-0.safetensors": "part-1.safetensors", "part-1.safetensors": "part-0.safetensors"}[file_of[name]]
    (out / INDEX).write_text(json.dumps({"weight_map": file_of | {name: wrong}}))
    refused(out, f"{name} is not in", wrong, "where model.safetensors.index.json says that it is")
    (out / INDEX).write_text(json.dumps({"weight_map": file_of | {name: "../elsewhere.safetensors"}}))
    refused(out, "places lm_head.weight in '../elsewhere.safetensors'; expected the name of a file beside it")
    (out / INDEX).write_text("{}")
    refused(out, "has no weight_map")
    (out / INDEX).write_text(json.dumps({"weight_map": without(file_of, name)}))
    refused(out, f"{name} is in none of the files")


def without(mapping, name):
    return {key: value for key, value in mapping.items() if key != name}


def test_one_name_in_two_files(copy):
    shutil.copy(copy / "model.safetensors", copy / "again.safetensors")
    refused(copy, "is both in again.safetensors and in model.safetensors")


def test_mxfp4_needs_whole_blocks(copy):
    change_json(copy, "config.json", hidden_size=100)
    refused(copy, "hidden_size is 100 and intermediate_size 64; MXFP4 experts need multiples of 32")


@settings(max_examples=150)
@given(st.data())
def test_a_folder_with_any_one_byte_changed_opens_or_is_refused(good, folder, data):
    """Header, index and config: never an error of any other kind."""
    out = folder / "mutated"
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(good, out)
    path = out / data.draw(st.sampled_from(["config.json", "model.safetensors", "generation_config.json"]))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, min(len(content), 6000) - 1))
    content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        minioss.load(out)
    except minioss.InputError as error:
        assert str(out) in str(error) or "has shape" in str(error) or "has type" in str(error)


# --check


def test_check_finds_numbers_that_are_none(copy):
    assert list(find_not_finite(open_checkpoint(copy))) == []
    change_bytes(copy, "model.layers.2.mlp.experts.gate_up_proj_scales", lambda scales: scales[5, 100].fill(255))
    change_bytes(copy, "model.layers.0.self_attn.q_proj.weight", lambda bits: bits[3, 7:9].fill(0x7F80))
    seen = []
    faults = list(find_not_finite(open_checkpoint(copy), lambda done, total: seen.append(total)))
    assert faults == [
        "model.layers.0.self_attn.q_proj.weight has 2 values that are NaN or infinite, the first at query_rows 3, hidden_size 7",
        "model.layers.2.mlp.experts.gate_up_proj_scales has 3 NaN scales (byte 255), "
        "the first at num_local_experts 5, gate_up_rows 100, hidden_blocks 0",
    ]
    assert len(seen) == len(SafetensorsFile(copy / "model.safetensors").entries) - 6
