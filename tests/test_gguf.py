"""GGUF files: gguf's own reader finds the folder's numbers in them, and what cannot be said is refused."""

import errno
import json
import shutil
import sys
from collections import namedtuple

import numpy as np
import pytest

import minioss
from minioss import bfloat16
from minioss.checkpoint import gguf_metadata, tokenizer_json, whole
from minioss.checkpoint.gguf import Tensor, chunks, in_gguf_order, write_gguf
from minioss.checkpoint.loading import open_checkpoint, read_weights
from minioss.cli import main
from minioss.config import FULL, SLIDING
from minioss.linear import decode
from minioss.mxfp4 import MXFP4Array
from tests.models import edge_scales, small_config, synthesize
from tests.ranks import ranks

gguf = pytest.importorskip("gguf")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("folders")


@pytest.fixture(scope="module")
def good(folder):
    return synthesize(folder, small_config(vocab_size=300))


def read(path):
    """The tensors as gguf itself decodes them, and the values of the keys."""
    reader = gguf.GGUFReader(path)
    tensors = {
        tensor.name: (tensor.tensor_type.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type))
        for tensor in reader.tensors
    }
    return tensors, {name: field.contents() for name, field in reader.fields.items()}


def expected(folder):
    """Every number of a folder by its name in GGUF, written out by hand from llama.cpp's loader."""
    weights = read_weights(open_checkpoint(folder))
    found = {
        "token_embd.weight": weights.embedding,
        "output_norm.weight": weights.norm,
        "output.weight": weights.unembedding,
    }
    for number, layer in enumerate(weights.layers):
        attention, experts = layer.attention, layer.experts
        gate_up, gate_up_bias = (decode(weight, np.float32) for weight in (experts.gate_up, experts.gate_up_bias))
        parts = {
            "attn_norm.weight": layer.attention_norm,
            "attn_q.weight": attention.query.weight,
            "attn_q.bias": attention.query.bias,
            "attn_k.weight": attention.key.weight,
            "attn_k.bias": attention.key.bias,
            "attn_v.weight": attention.value.weight,
            "attn_v.bias": attention.value.bias,
            "attn_output.weight": attention.output.weight,
            "attn_output.bias": attention.output.bias,
            "attn_sinks.weight": attention.sinks,
            "post_attention_norm.weight": layer.experts_norm,
            "ffn_gate_inp.weight": layer.router.weight,
            "ffn_gate_inp.bias": layer.router.bias,
            "ffn_gate_exps.weight": gate_up[:, 0::2],
            "ffn_gate_exps.bias": gate_up_bias[:, 0::2],
            "ffn_up_exps.weight": gate_up[:, 1::2],
            "ffn_up_exps.bias": gate_up_bias[:, 1::2],
            "ffn_down_exps.weight": experts.down,
            "ffn_down_exps.bias": experts.down_bias,
        }
        found |= {f"blk.{number}.{name}": weight for name, weight in parts.items()}
    return {name: decode(weight, np.float32) for name, weight in found.items()}


# Tensors


def test_every_number_is_the_folders(good, tmp_path):
    write_gguf(good, tmp_path / "out.gguf")
    found, wanted = read(tmp_path / "out.gguf")[0], expected(good)
    assert found.keys() == wanted.keys()
    for name, (_, values) in found.items():
        assert np.array_equal(values, wanted[name]), name
    types = {name.split(".", 2)[-1] if name.startswith("blk.") else name: type for name, (type, _) in found.items()}
    assert {name for name, type in types.items() if type == "MXFP4"} == {
        f"ffn_{x}_exps.weight" for x in ("gate", "up", "down")
    }
    matrices = {f"attn_{x}.weight" for x in ("q", "k", "v", "output")} | {"token_embd.weight", "output.weight"}
    assert {name for name, type in types.items() if type == "BF16"} == matrices
    assert types["ffn_gate_inp.weight"] == types["attn_sinks.weight"] == types["ffn_down_exps.bias"] == "F32"


def test_int8_is_within_half_a_step_and_the_rest_is_exact(good, tmp_path):
    write_gguf(good, tmp_path / "out.gguf", dense="int8")
    found, wanted = read(tmp_path / "out.gguf")[0], expected(good)
    rounded = {name for name, (type, _) in found.items() if type == "Q8_0"}
    assert len(rounded) == 2 + 4 * 3
    for name, (_, values) in found.items():
        if name in rounded:
            blocks, exact = values.reshape(-1, 32), wanted[name].reshape(-1, 32)
            step = np.abs(exact).max(axis=1, keepdims=True) / 127
            # The step is stored as float16, which moves the largest numbers by up to 127 * 2^-11 of it.
            assert np.all(np.abs(blocks - exact) <= (0.5 + 127 * 2.0**-11) * step + 2.0**-24 * 127), name
        else:
            assert np.array_equal(values, wanted[name]), name


@pytest.mark.parametrize("dense", ["bfloat16", "int8"])
def test_both_layouts_give_the_same_bytes(folder, tmp_path, dense):
    # The original layout's context is its length times the factor.
    config = small_config(
        vocab_size=300, num_attention_heads=10, num_key_value_heads=5, head_dim=32, max_position_embeddings=64 * 32
    )
    contents = []
    for layout in ("huggingface", "original"):
        write_gguf(synthesize(folder, config, layout=layout), tmp_path / layout, dense)
        contents.append((tmp_path / layout).read_bytes())
    assert contents[0] == contents[1]


def test_chunks_do_not_change_the_bytes(good, tmp_path, monkeypatch):
    write_gguf(good, tmp_path / "whole", "int8")
    monkeypatch.setattr("minioss.checkpoint.gguf.VALUES_PER_CHUNK", 200)
    seen = []
    write_gguf(good, tmp_path / "parts", "int8", lambda done, total: seen.append((done, total)))
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "parts").read_bytes()
    assert seen == sorted(seen) and seen[-1][0] == seen[-1][1] and len(seen) > 800


def test_scales_at_the_edges(folder, tmp_path):
    out = synthesize(folder, small_config())
    edge_scales(out)
    write_gguf(out, tmp_path / "out.gguf")
    found, wanted = read(tmp_path / "out.gguf")[0], expected(out)
    assert all(np.array_equal(values, wanted[name]) for name, (_, values) in found.items())


def test_every_nibble_finds_its_place(random):
    weight = MXFP4Array(
        random.integers(256, size=(5, 3, 16), dtype=np.uint8), random.integers(253, size=(5, 3), dtype=np.uint8)
    )
    blocks = in_gguf_order(weight).reshape(5, -1)
    values = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType.MXFP4)
    assert np.array_equal(values, weight.decode())


def test_float32_weights_are_rounded_to_what_was_asked_for():
    values = np.float32([[1 + 2**-8, -3.0], [0.1, 1e-30]])
    (bits,) = chunks(gguf, Tensor("output.weight", values, "BF16"))
    assert np.array_equal(bits, bfloat16.encode(values))


# Keys


def test_the_config(good, tmp_path):
    write_gguf(good, tmp_path / "out.gguf")
    keys, config = read(tmp_path / "out.gguf")[1], open_checkpoint(good).config
    ours = {name.removeprefix("gpt-oss."): value for name, value in keys.items() if name.startswith("gpt-oss.")}
    assert keys["general.architecture"] == "gpt-oss"
    assert ours == {
        "block_count": 3,
        "context_length": config.max_position_embeddings,
        "embedding_length": 96,
        "feed_forward_length": 64,
        "expert_feed_forward_length": 64,
        "expert_count": 8,
        "expert_used_count": 2,
        "attention.head_count": 6,
        "attention.head_count_kv": 2,
        "attention.key_length": 16,
        "attention.value_length": 16,
        "attention.sliding_window": 8,
        "attention.layer_norm_rms_epsilon": np.float32(1e-5),
        "rope.freq_base": 150000.0,
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": 32.0,
        "rope.scaling.original_context_length": 64,
        "rope.scaling.yarn_beta_fast": 32.0,
        "rope.scaling.yarn_beta_slow": 1.0,
    }


def test_plain_rope_has_no_scaling():
    keys = gguf_metadata.of_config(small_config(rope=minioss.RopeConfig("default", 10000)))
    assert keys["gpt-oss.rope.freq_base"] == 10000.0 and not any("scaling" in key for key in keys)


def test_the_vocabulary(good, tmp_path):
    write_gguf(good, tmp_path / "out.gguf")
    keys = read(tmp_path / "out.gguf")[1]
    tokens, types = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
    assert keys["tokenizer.ggml.model"] == "gpt2" and keys["tokenizer.ggml.pre"] == "gpt-4o"
    assert (
        tokens[ord("a")] == "a"
        and tokens[ord(" ")] == "Ġ"
        and tokens[260] == "<|return|>"
        and tokens[299] == "[PAD299]"
    )
    assert types == 256 * [1] + 16 * [3] + 28 * [5]
    ends = ("bos", "eos", "padding")
    assert [keys[f"tokenizer.ggml.{name}_token_id"] for name in ends] == [256, 260, 257]


def test_a_folder_without_a_tokenizer_gets_unused_tokens(good, tmp_path):
    copy = shutil.copytree(good, tmp_path / "copy")
    (copy / "tokenizer.json").unlink()
    write_gguf(copy, tmp_path / "out.gguf")
    keys = read(tmp_path / "out.gguf")[1]
    assert keys["tokenizer.ggml.token_type"] == 300 * [5] and "tokenizer.ggml.eos_token_id" not in keys


def test_the_original_folder_uses_the_tokenizer_of_the_one_above(folder, good, tmp_path):
    made = synthesize(folder, small_config(vocab_size=300), layout="original")
    original = shutil.copytree(made, tmp_path / "original")
    (original / "tokenizer.json").rename(tmp_path / "tokenizer.json")
    write_gguf(original, tmp_path / "from-above")
    write_gguf(made, tmp_path / "from-inside")
    assert (tmp_path / "from-above").read_bytes() == (tmp_path / "from-inside").read_bytes()


def test_merges_are_all_pairs_in_the_order_of_ranks():
    some = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b"bc": 257, b" a": 258, b"abc": 259, b"xyz": 260}
    keys = gguf_metadata.of_vocabulary(tokenizer_json.Vocabulary(some, {}, tokenizer_json.PATTERN), 300)
    assert keys["tokenizer.ggml.merges"] == ["a b", "b c", "Ġ a", "a bc", "ab c"]


def test_the_official_vocabulary_merges_as_the_official_file_says():
    official = tokenizer_json.Vocabulary(ranks(), {}, tokenizer_json.PATTERN)
    keys = gguf_metadata.of_vocabulary(official, tokenizer_json.OFFICIAL_VOCABULARY)
    # The number of merges in the tokenizer.json of gpt-oss.
    assert len(keys["tokenizer.ggml.merges"]) == 446189
    assert keys["tokenizer.ggml.merges"][:3] == ["Ġ Ġ", "Ġ ĠĠĠ", "ĠĠ ĠĠ"]


# Refusals


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"swiglu_limit": 6.0}, "swiglu_limit is 6.0; llama.cpp computes with 7.0"),
        ({"swiglu_alpha": 1.0}, "swiglu_alpha is 1.0; llama.cpp computes with 1.702"),
        ({"layer_types": (FULL, SLIDING, FULL)}, "layer_types is full_attention, .*; llama.cpp knows sliding and full"),
        ({"rope": minioss.RopeConfig(attention_factor=1.0)}, "attention_factor is 1.0; llama.cpp knows YaRN's own"),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(changes, message):
    with pytest.raises(minioss.InputError, match=message):
        gguf_metadata.of_config(small_config(**changes))


def refused(message, *arguments):
    with pytest.raises(minioss.InputError, match=message):
        write_gguf(*arguments)


def test_bad_arguments_leave_nothing(folder, good, tmp_path, monkeypatch):
    out = tmp_path / "out.gguf"
    refused("dense is 'int4'; expected one of 'bfloat16', 'int8'", good, out, "int4")
    refused("the experts of .* are dense", synthesize(folder, small_config(), dense=True), out)
    refused("there is no folder", tmp_path / "nowhere", out)
    narrow = synthesize(folder, small_config(num_attention_heads=5, num_key_value_heads=5))
    refused(r"blk.0.attn_output.weight has rows of 80 numbers; int8 needs multiples of 32", narrow, out, "int8")
    monkeypatch.setitem(sys.modules, "gguf", None)
    refused(r"need the package gguf: pip install 'minioss\[gguf\]'", good, out)
    assert list(tmp_path.iterdir()) == []


def test_a_vocabulary_that_does_not_fit(good, tmp_path):
    copy, out = shutil.copytree(good, tmp_path / "copy"), tmp_path / "out.gguf"
    content = json.loads((copy / "tokenizer.json").read_text())
    content["added_tokens"][0]["id"] = 300
    (copy / "tokenizer.json").write_text(json.dumps(content))
    refused("has token 300; expected ids below vocab_size = 300", copy, out)
    content["added_tokens"][0]["id"] = 256
    content["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\w+"
    (copy / "tokenizer.json").write_text(json.dumps(content))
    refused(r"cuts text by \\w\+; llama.cpp knows gpt-oss's pattern alone", copy, out)


def test_what_is_there_is_not_touched(good, tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path):
        refused("exists; expected a file that is still to be made", good, out)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_disk_that_is_too_small_is_seen_before_writing(good, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**9, 10**9 - 5, 5)
    monkeypatch.setattr(whole.shutil, "disk_usage", lambda path: usage)
    refused("has 0.000 GB free; the file takes 0.001 GB", good, tmp_path / "out.gguf")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("interruption", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_disk_that_fills_up_or_a_ctrl_c_leaves_nothing(good, tmp_path, interruption):
    def progress(done, total):
        if done > total / 2:
            raise interruption

    wanted = minioss.InputError if isinstance(interruption, OSError) else KeyboardInterrupt
    with pytest.raises(wanted) as caught:
        write_gguf(good, tmp_path / "out.gguf", progress=progress)
    if wanted is minioss.InputError:
        assert "is full (No space left on device); nothing was kept" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


# The command


def test_the_command(good, tmp_path, capsys):
    assert main(["gguf", str(good), str(tmp_path / "out.gguf"), "--dense", "int8"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out.gguf'}: MXFP4 experts, int8 otherwise\n"
    write_gguf(good, tmp_path / "again.gguf", "int8")
    assert (tmp_path / "out.gguf").read_bytes() == (tmp_path / "again.gguf").read_bytes()
    assert main(["gguf", str(good), str(tmp_path / "out.gguf")]) == 2
    assert "out.gguf exists; expected a file" in capsys.readouterr().err
