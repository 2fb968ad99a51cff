"""The conformance kit: every mistake shows on it, and all that it holds is the same model."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import minioss
from minioss.cli import main
from minioss.mxfp4 import MXFP4Array
from minioss.verify import kit as kit_module
from minioss.verify.faults import CATALOGUE
from minioss.verify.files import read_trace
from minioss.verify.keys import keys
from minioss.verify.kit import MARGIN, margins, write_kit
from minioss.verify.kit_checkpoints import CHECKPOINTS
from tests.faulty import in_pieces
from tests.models import nmse
from tests.twins import LEVELS, needs_core

VISIBLE = 1000  # how many times the error of a right port in float32


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    out = tmp_path_factory.mktemp("kits") / "kit"
    write_kit(out)
    return out


@pytest.fixture(scope="module")
def entries(kit):
    return {entry["name"]: entry for entry in json.loads((kit / "kit.json").read_text())["checkpoints"]}


@pytest.fixture(scope="module")
def models(kit):
    return {name: minioss.load(kit / name / "model", dtype="float64") for name in CHECKPOINTS}


@pytest.fixture(scope="module")
def golden(kit, models):
    return {name: read_trace(kit / name / "golden.safetensors", model.config) for name, model in models.items()}


@pytest.fixture(scope="module")
def noise(kit, golden):
    """What float32 alone does to the logits."""
    ports = {name: minioss.load(kit / name / "model", kernels="numpy") for name in CHECKPOINTS}
    return {name: nmse(port(golden[name]["tokens"]), golden[name]["logits"]) for name, port in ports.items()}


def effects(fault, models, golden, noise):
    """How far a mistake moves the logits, in units of float32's noise, checkpoint by checkpoint."""
    for name in ("other-numbers", "edge-scales", "released"):
        with minioss.fault(fault):
            yield nmse(models[name](golden[name]["tokens"]), golden[name]["logits"]) / noise[name]


@pytest.mark.parametrize("fault", CATALOGUE)
def test_every_mistake_shows_in_the_logits(models, golden, noise, monkeypatch, fault):
    in_pieces(monkeypatch)
    assert any(effect > VISIBLE for effect in effects(fault, models, golden, noise))


def test_a_right_port_shows_nothing(models, golden, noise, monkeypatch):
    assert all(0 < each < 1e-11 for each in noise.values())
    in_pieces(monkeypatch)
    for name in models.keys() - {"far"}:  # whose trace was taken in pieces already
        assert nmse(models[name](golden[name]["tokens"]), golden[name]["logits"]) < 1e-25


@needs_core
@pytest.mark.parametrize("level", LEVELS)
def test_our_own_kernels_are_right_on_it(kit, models, golden, monkeypatch, level):
    monkeypatch.setenv("MINIOSS_SIMD", level)
    for name in models.keys() - {"far"}:
        port = minioss.load(kit / name / "model", dtype="float32", kernels="cython")
        assert nmse(port(golden[name]["tokens"]), golden[name]["logits"]) < 1e-11


@pytest.mark.parametrize("fault", ["yarn-truncated", "yarn-original-length", "rope-frequencies-bfloat16"])
def test_mistakes_in_positions_grow_far_out(models, golden, fault):
    with minioss.fault(fault):
        wrong = models["far"](golden["far"]["tokens"])
    right = golden["far"]["logits"]
    assert nmse(wrong[4096:], right[4096:]) > max(1e-2, 2 * nmse(wrong[:128], right[:128]))


def test_all_forms_are_one_model(kit, entries, models, golden):
    for name, entry in entries.items():
        for form in {"original", "dense"} & entry["forms"].keys():
            other = minioss.load(kit / entry["forms"][form], dtype="float64")
            assert nmse(other(golden[name]["tokens"]), golden[name]["logits"]) < 1e-25, (name, form)
            assert other.config == models[name].config
    assert {form for entry in entries.values() for form in entry["forms"]} == {
        "huggingface",
        "original",
        "dense",
        "gguf",
    }


def test_the_gguf_files_hold_the_same_numbers(kit, entries):
    test_gguf = pytest.importorskip("tests.test_gguf")
    for entry in entries.values():
        if "gguf" in entry["forms"]:
            tensors, _ = test_gguf.read(kit / entry["forms"]["gguf"])
            expected = test_gguf.expected(kit / entry["forms"]["huggingface"])
            assert tensors.keys() == expected.keys()
            assert all(np.array_equal(tensors[name][1], values) for name, values in expected.items())


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_nothing_hides_a_mistake(name, models, golden):
    """Shapes without coincidences, more tokens than the window, clamps that are hit, a router that is sure."""
    config, ids = models[name].config, golden[name]["tokens"]
    query_rows = config.num_attention_heads * config.head_dim
    assert len({config.hidden_size, config.intermediate_size, query_rows, config.vocab_size}) == 4
    assert config.num_key_value_heads != config.num_attention_heads // config.num_key_value_heads
    assert len(ids) > config.sliding_window + 16
    assert margins(models[name], ids).min() >= MARGIN
    gate_up = minioss.trace(models[name], ids[:150], ["layers.*.experts.gate_up"])
    beyond = [np.mean(np.abs(values) > config.swiglu_limit) for key, values in gate_up.items() if "gate_up" in key]
    assert 1e-3 < np.mean(beyond) < 0.5


def test_the_smallest_scales_are_there(models):
    layers = models["edge-scales"].weights.layers
    assert all(isinstance(layer.experts.gate_up, MXFP4Array) for layer in layers)
    scales = np.concatenate([layer.experts.gate_up.scales.ravel() for layer in layers])
    assert set(np.unique(scales)) > {0, 1, 2} and 0.05 < np.mean(scales == 0) < 0.2
    weights = np.abs(layers[0].experts.gate_up.decode(np.float64))
    assert np.mean((weights > 0) & (weights < 2.0**-126)) > 0.05


def test_positions_go_past_the_original_length(golden, models):
    assert len(golden["far"]["tokens"]) > models["far"].config.rope.original_max_position_embeddings == 4096
    other = models["other-numbers"].config.rope.original_max_position_embeddings
    assert len(golden["other-numbers"]["tokens"]) > 2 * other


def test_the_golden_arrays(golden, models):
    assert list(golden["other-numbers"]) == list(keys(models["other-numbers"].config))
    assert {"layers.3.router.experts", "layers.0.output"} < golden["released"].keys()
    assert all(values.dtype == np.float64 for arrays in golden.values() for values in [arrays["logits"]])


def test_what_the_kit_says_of_itself(kit, entries, golden):
    assert entries.keys() == CHECKPOINTS.keys()
    text = (kit / "README.md").read_text()
    for name, entry in entries.items():
        for path in (*entry["forms"].values(), entry["tokens"], entry["golden"]):
            assert (kit / path).exists()
        assert all(f"`{path}`" in text for path in entry["forms"].values()) and entry["purpose"] in text
        assert json.loads((kit / entry["tokens"]).read_text()) == golden[name]["tokens"].tolist()
        assert entry["length"] == len(golden[name]["tokens"])


def contents(folder: Path):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_command_writes_the_same_bytes(kit, tmp_path, capsys):
    again = tmp_path / "again"
    assert main(["kit", str(again)]) == 0
    files = contents(kit)
    size = sum(map(len, files.values()))
    assert size < 20e6
    assert capsys.readouterr().out == (
        f"{again}: released, far, other-numbers, edge-scales; {size / 1e6:.1f} MB. Start with {again}{os.sep}README.md\n"
    )
    others = contents(again)
    assert others.keys() == files.keys()
    assert all(others[path] == content for path, content in files.items() if path.name != "golden.safetensors")
    for path in files:
        if path.name == "golden.safetensors":  # its last digits may depend on how many threads a product has
            config = minioss.load(kit / path.parts[0] / "model").config
            first, second = (read_trace(folder / path, config) for folder in (kit, again))
            assert all(np.allclose(values, second[key], rtol=0, atol=1e-11) for key, values in first.items())


# Whole or not at all


def test_nothing_half_written(tmp_path, monkeypatch):
    def failing(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(kit_module, "write_trace", failing)
    with pytest.raises(KeyboardInterrupt):
        write_kit(tmp_path / "kit")
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_gguf(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(minioss.InputError, match=r"GGUF files need the package gguf: pip install 'minioss\[gguf\]'"):
        write_kit(tmp_path / "kit")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists(tmp_path):
    with pytest.raises(minioss.InputError, match="exists; expected a folder that is still to be made"):
        write_kit(tmp_path)
