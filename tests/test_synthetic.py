"""Synthetic checkpoints: reproducible, sane, whole or not there at all."""

import errno
import json
from collections import namedtuple

import numpy as np
import pytest

import minioss
from minioss import experts, transformer
from minioss.checkpoint import synthetic, tokenizer_json, whole, writing
from minioss.checkpoint.loading import open_checkpoint
from tests.models import small_config, synthesize
from tests.ranks import ranks


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_seed_decides(tmp_path):
    first, again, other = (synthesize(tmp_path, small_config(), seed=seed) for seed in (1, 1, 2))
    assert content(first) == content(again)
    assert content(first)["model.safetensors"] != content(other)["model.safetensors"]


def test_chunks_and_shards_do_not_change_the_numbers(tmp_path, monkeypatch):
    whole = synthesize(tmp_path, small_config())
    monkeypatch.setattr(synthetic, "VALUES_PER_CHUNK", 64)
    assert content(synthesize(tmp_path, small_config())) == content(whole)
    monkeypatch.setattr(writing, "BYTES_PER_SHARD", 100_000)
    parts = synthesize(tmp_path, small_config())
    assert len(open_checkpoint(parts).shards.files) > 3
    assert np.array_equal(minioss.load(parts)([1, 2, 3]), minioss.load(whole)([1, 2, 3]))


@pytest.mark.parametrize("config", [minioss.preset("tiny"), small_config(num_hidden_layers=24, num_local_experts=32)])
def test_activations_stay_finite_the_clamp_is_hit_and_the_router_has_no_favourite(tmp_path, monkeypatch, config):
    loads, clamped, sizes = [], [], []
    mix, swiglu = transformer.mix_experts, experts.swiglu

    def recording_mix(x, routing, *rest):
        loads.append(np.bincount(routing.expert_TA.ravel(), minlength=config.num_local_experts) / len(x))
        result = mix(x, routing, *rest)
        sizes.append(np.sqrt(np.mean(np.square(result))))
        return result

    def recording_swiglu(gate_up, alpha, limit):
        clamped.append(np.mean(np.abs(gate_up) > limit))
        return swiglu(gate_up, alpha, limit)

    monkeypatch.setattr(transformer, "mix_experts", recording_mix)
    monkeypatch.setattr(experts, "swiglu", recording_swiglu)
    logits = minioss.load(synthesize(tmp_path, config), kernels="numpy")(
        np.random.default_rng(0).integers(config.vocab_size, size=400)
    )
    assert 1 < logits.std() < 4
    assert all(0.2 < size < 3 for size in sizes)
    assert 1e-3 < np.mean(clamped) < 0.1
    # Every expert is used somewhere, and none takes nearly all tokens of a layer.
    assert np.max(loads) < 0.95
    assert np.mean(np.array(loads) > 0) > 0.8


def test_the_tokenizer_of_a_small_vocabulary(tmp_path):
    out = synthesize(tmp_path, small_config(vocab_size=300))
    encoding = minioss.load_tokenizer(out, 300)
    assert encoding.encode("é") == list("é".encode())
    assert encoding.encode("<|start|>", allowed_special="all") == [264]
    generation = json.loads((out / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [260, 257, 270] and generation["bos_token_id"] == 256
    assert not (synthesize(tmp_path, small_config(vocab_size=271)) / "tokenizer.json").exists()


def test_the_official_vocabulary_has_the_official_stops(tmp_path):
    out = synthesize(tmp_path, small_config(vocab_size=201088))
    assert minioss.load(out).stop_tokens == (200002, 199999, 200012)
    assert not (out / "tokenizer.json").exists()


def test_a_given_tokenizer_is_copied(tmp_path):
    (tmp_path / "given").mkdir()
    given = tmp_path / "given" / "tokenizer.json"
    given.write_text(json.dumps(tokenizer_json.to_json(tokenizer_json.byte_vocabulary())))
    out = synthesize(tmp_path, small_config(vocab_size=272), tokenizer=given)
    assert (out / "tokenizer.json").read_bytes() == given.read_bytes()
    with pytest.raises(minioss.InputError, match="has token 271; expected ids below vocab_size = 101"):
        synthesize(tmp_path, small_config(), tokenizer=given)
    with pytest.raises(minioss.InputError, match="nowhere.json is missing"):
        synthesize(tmp_path, small_config(), tokenizer=tmp_path / "nowhere.json")


def test_an_existing_folder_is_not_touched(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(minioss.InputError, match="exists; expected a folder that is still to be made"):
        minioss.synthesize(tmp_path / "model", small_config())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "gguf"}, "layout is 'gguf'; expected 'huggingface' or 'original'"),
        ({"seed": -1}, "seed is -1; expected 0"),
        ({"config": small_config(hidden_size=100)}, "hidden_size is 100 .* expected multiples of 32"),
        ({"config": small_config(swiglu_alpha=2.0), "layout": "original"}, "swiglu_alpha is 2.0; the original layout"),
    ],
)
def test_what_is_refused_leaves_nothing(tmp_path, options, message):
    with pytest.raises(minioss.InputError, match=message):
        minioss.synthesize(tmp_path / "model", **({"config": small_config()} | options))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_too_small_is_seen_before_writing(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**9, 10**9 - 5, 5)
    monkeypatch.setattr(whole.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(minioss.InputError, match="has 0.000 GB free; the folder takes 0.000 GB"):
        minioss.synthesize(tmp_path / "model", small_config())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("interruption", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_disk_that_fills_up_or_a_ctrl_c_leaves_nothing(tmp_path, interruption):
    def progress(done, total):
        if done > total / 2:
            raise interruption

    expected = minioss.InputError if isinstance(interruption, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        minioss.synthesize(tmp_path / "model", small_config(), progress=progress)
    if expected is minioss.InputError:
        assert "is full (No space left on device); nothing was kept" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_progress_reaches_the_end(tmp_path):
    seen = []
    minioss.synthesize(tmp_path / "model", small_config(), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] and sorted(seen) == seen


def test_the_byte_characters_spell_the_ranks():
    """The table of printable characters is a bijection, and spells every token of o200k without loss."""
    spelling = tokenizer_json.byte_characters()
    assert sorted(spelling) == list(range(256)) and len(set(spelling.values())) == 256
    assert all(not character.isspace() for character in spelling.values())
    assert "".join(spelling[byte] for byte in b" hello\n") == "Ġhello" + "Ċ"
    assert len(ranks()) == 199998
