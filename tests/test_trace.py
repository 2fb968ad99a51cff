"""Traces: every step is what it says, on disk as in memory, and a wrong file is told what is wrong with it."""

import dataclasses
import json
import re
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

import minioss
from minioss import cli
from minioss.attention import visible
from minioss.experts import expert, swiglu
from minioss.linear import linear, matmul
from minioss.rmsnorm import rms_norm
from minioss.router import route
from minioss.verify.files import read_trace, write_trace
from minioss.verify.keys import AFTER, BEFORE, LAYER, keys, shape
from tests.faulty import IDS, in_pieces, visible_model
from tests.test_cli import run

PAGE = Path(__file__).parent.parent / "docs" / "trace-format.md"
T = len(IDS)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return visible_model(tmp_path_factory.mktemp("models") / "visible")


@pytest.fixture(scope="module")
def whole(model):
    return minioss.trace(model, IDS)


@pytest.fixture
def small(model):
    return minioss.trace(model, IDS[:5])


def test_every_key_is_there_in_order_with_its_shape(model, whole):
    assert list(whole) == list(keys(model.config))
    for name, key in keys(model.config).items():
        assert whole[name].shape == shape(key, model.config, T), name
        assert whole[name].dtype.kind == ("i" if key.is_integer else "f")


def test_tracing_changes_nothing(model, whole):
    assert np.array_equal(whole["logits"], model(IDS)) and np.array_equal(whole["tokens"], IDS)


def test_steps_follow_from_one_another(model, whole):
    """Each recorded array by the definition, from those before it."""
    stream, config = whole["embedding"], model.config
    for index, weights in enumerate(model.weights.layers):
        at = {key.name: whole[f"layers.{index}.{key.name}"] for key in LAYER}
        gain = weights.attention_norm.decode(np.float64)
        assert close(at["attention_norm"], rms_norm(stream, gain, config.rms_norm_eps))
        for name, each in [
            ("q", weights.attention.query),
            ("k", weights.attention.key),
            ("v", weights.attention.value),
        ]:
            assert close(at[f"attention.{name}"].reshape(T, -1), linear(at["attention_norm"], each))
        hold_attention(at, config, config.window(index), weights.attention)
        stream = stream + at["attention.output"]
        gain = weights.experts_norm.decode(np.float64)
        assert close(at["experts_norm"], rms_norm(stream, gain, config.rms_norm_eps))
        hold_experts(at, config, weights)
        stream = stream + at["experts.output"]
        assert close(at["output"], stream)
    assert close(whole["norm"], rms_norm(stream, model.weights.norm.decode(np.float64), config.rms_norm_eps))
    assert close(whole["logits"], matmul(whole["norm"], model.weights.unembedding))


def hold_attention(at, config, window, weights):
    for name in ("q", "k"):
        before, after = at[f"attention.{name}"], at[f"attention.{name}_rope"]
        scale = minioss.rope.concentration(config.rope)
        assert close(np.linalg.norm(after, axis=-1), scale * np.linalg.norm(before, axis=-1))
    group = config.num_attention_heads // config.num_key_value_heads
    keys_TnK, values_TnK = (np.repeat(at[name], group, axis=1) for name in ("attention.k_rope", "attention.v"))
    scores = np.einsum("tnk,snk->nts", at["attention.q_rope"], keys_TnK) / np.sqrt(config.head_dim)
    seen = visible(T, T, window)
    assert np.isneginf(at["attention.scores"][:, ~np.c_[seen, np.ones(T, bool)]]).all()
    assert close(at["attention.scores"][:, :, :-1][:, seen], scores[:, seen])
    sinks = weights.sinks.decode(np.float64)
    assert np.array_equal(at["attention.scores"][..., -1], np.broadcast_to(sinks[:, None], (len(sinks), T)))
    exponentials = np.exp(at["attention.scores"])
    softmax = exponentials / exponentials.sum(axis=-1, keepdims=True)
    assert close(at["attention.weights"], softmax[..., :-1])
    mixed = np.einsum("nts,snk->tnk", at["attention.weights"], values_TnK)
    assert close(at["attention.mixed"], mixed)
    assert close(at["attention.output"], linear(mixed.reshape(T, -1), weights.output))


def hold_experts(at, config, weights):
    routing = route(at["experts_norm"], weights.router, config.num_experts_per_tok)
    assert close(at["router.logits"], linear(at["experts_norm"], weights.router))
    assert np.array_equal(at["router.experts"], routing.expert_TA) and close(at["router.weights"], routing.weight_TA)
    activation = swiglu(at["experts.gate_up"].reshape(-1, 2 * config.intermediate_size), 1.702, config.swiglu_limit)
    assert close(at["experts.activation"].reshape(activation.shape), activation)
    for token in range(0, T, 37):
        for slot, index in enumerate(at["router.experts"][token]):
            x = at["experts_norm"][token : token + 1]
            assert close(
                at["experts.down"][token, slot], expert(x, weights.experts, index, 1.702, config.swiglu_limit)[0]
            )
    assert close(at["experts.output"], np.einsum("ta,tad->td", at["router.weights"], at["experts.down"]))


def close(found, expected):
    return found.shape == expected.shape and np.allclose(found, expected, rtol=0, atol=1e-10)


def test_pieces_give_the_same_trace(model, whole, monkeypatch):
    in_pieces(monkeypatch)
    pieces = minioss.trace(model, IDS)
    assert list(pieces) == list(whole)
    for name, values in pieces.items():
        finite = np.isfinite(whole[name])
        assert np.array_equal(np.isfinite(values), finite), name
        assert close(values[finite], whole[name][finite]), name


def test_some_keys_alone(model, whole):
    arrays = minioss.trace(model, IDS, ["layers.2.router.*", "norm"])
    assert list(arrays) == [
        "tokens",
        *(f"layers.2.router.{name}" for name in ("logits", "experts", "weights")),
        "norm",
        "logits",
    ]
    assert all(np.array_equal(values, whole[name]) for name, values in arrays.items())
    with pytest.raises(minioss.InputError, match=r"no array of this model's trace is called 'layers.3.\*'"):
        minioss.trace(model, IDS, ["norm", "layers.3.*"])


def test_rungs_of_the_ladder(model, whole):
    """Each rung is recorded as it computes: float32, and coarser the further down."""
    errors = []
    for activations in ("float32", "bfloat16", "int8"):
        coarse = dataclasses.replace(model, dtype="float32", activations=activations)
        queries = minioss.trace(coarse, IDS, ["layers.0.attention.q"])["layers.0.attention.q"]
        assert queries.dtype == np.float32
        errors.append(np.abs(queries - whole["layers.0.attention.q"]).max())
    assert 0 < errors[0] < 1e-5 < errors[1] < errors[2] < 0.1


# Going on with other arrays


def test_its_own_arrays_change_nothing(model, whole, monkeypatch):
    in_pieces(monkeypatch)
    right = minioss.trace(model, IDS)
    forced = minioss.trace(model, IDS, instead=right)
    assert all(np.array_equal(forced[name], values) for name, values in right.items())


@pytest.mark.parametrize(
    ("fault", "steps"),
    [
        ("yarn-truncated", {"rope.cos", "rope.sin"}),
        ("sink-dropped", {"attention.scores"}),
        ("router-sigmoid", {"router.weights"}),
        ("up-plus-one-missing", {"experts.activation"}),
        ("norm-gain-plus-one", {"attention_norm", "experts_norm", "norm"}),
        ("down-bias-missing", {"experts.down"}),
        ("mask-without-self", {"attention.scores"}),
    ],
)
def test_an_error_is_charged_to_the_step_that_makes_it(model, monkeypatch, fault, steps):
    in_pieces(monkeypatch)
    with minioss.fault(fault):
        theirs = minioss.trace(model, IDS[:130])
    forced = minioss.trace(model, IDS[:130], instead=theirs)
    wrong = {name for name, values in forced.items() if not np.allclose(values, theirs[name], rtol=0, atol=1e-12)}
    assert {re.sub(r"layers\.\d+\.", "", name) for name in wrong} == steps


# The page


def test_the_page_has_every_key():
    rows = re.findall(r"^\| `([^`]+)` \| \(([^)]+)\) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    expected = [(prefix + key.name, key.axes, key.meaning) for prefix, group in GROUPS for key in group]
    assert rows == expected


GROUPS = (("", BEFORE), ("layers.N.", LAYER), ("", AFTER))


# Files


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_file_gives_back_the_trace(model, small, tmp_path, suffix):
    write_trace(tmp_path / f"golden{suffix}", small)
    back = read_trace(tmp_path / f"golden{suffix}", model.config)
    assert list(back) == list(small)
    for name, values in back.items():
        assert values.dtype == small[name].dtype and np.array_equal(values, small[name]), name


def test_the_packages_read_what_is_written(small, tmp_path):
    write_trace(tmp_path / "golden.safetensors", small)
    back = safetensors.numpy.load_file(tmp_path / "golden.safetensors")
    assert all(np.array_equal(back[name], values) for name, values in small.items())


@given(st.data())
def test_any_subset_will_do(model, whole, tmp_path_factory, data):
    chosen = data.draw(st.sets(st.sampled_from([name for name in whole if name != "tokens"]), min_size=1, max_size=4))
    path = tmp_path_factory.mktemp("traces") / "theirs.npz"
    np.savez(path, tokens=IDS, **{name: whole[name] for name in chosen})
    assert list(read_trace(path, model.config)) == [name for name in whole if name in {"tokens", *chosen}]


@pytest.mark.parametrize("narrow", [np.float16, ml_dtypes.bfloat16])
def test_narrow_types_become_float32(model, small, tmp_path, narrow):
    logits = small["logits"].astype(np.float32).astype(narrow)
    tokens = small["tokens"].astype(np.int32)
    safetensors.numpy.save_file({"tokens": tokens, "logits": logits}, tmp_path / "theirs.safetensors")
    back = read_trace(tmp_path / "theirs.safetensors", model.config)
    assert back["logits"].dtype == np.float32 and np.array_equal(back["logits"], logits.astype(np.float32))
    assert np.array_equal(back["tokens"], tokens)


def wrong(change):
    """What a changed trace of five tokens is told."""
    return lambda arrays: {name: values for name, values in (arrays | change(arrays)).items() if values is not None}


def at(values, place, value):
    values = values.copy()
    values[place] = value
    return values


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda a: {"layers.0.router.logit": a["logits"]},
            "no array of this model's trace; did you mean layers.0.router.logits",
        ),
        (lambda a: {"zzz": a["logits"]}, "holds zzz, which is no array .* docs/trace-format.md has all names"),
        (lambda a: {"layers.3.output": a["norm"]}, "holds layers.3.output, which is no array"),
        (lambda a: {"tokens": None}, "expected tokens, and logits or other arrays"),
        (lambda a: {"tokens": a["tokens"][None]}, r"tokens in .* has shape \(1, 5\); expected \(T,\)"),
        (lambda a: {"tokens": a["tokens"] * 1.0}, "tokens in .* is float64; expected integers"),
        (lambda a: {"tokens": at(a["tokens"], 2, 101)}, r"tokens in .* is 101 at \[2\]; expected 0 to 100"),
        (lambda a: {"logits": a["logits"][:4]}, r"logits in .* has shape \(4, 101\); expected \(T, V\) = \(5, 101\)"),
        (lambda a: {"logits": a["logits"].astype(int)}, "logits in .* is int64; expected float16, bfloat16, float32"),
        (lambda a: {"logits": a["logits"] + 0j}, "logits in .* is complex128; expected float16"),
        (lambda a: {"logits": at(a["logits"], (3, 7), np.nan)}, r"logits in .* is nan at \[3, 7\]; expected finite"),
        (lambda a: {"norm": at(a["norm"], (0, 0), -np.inf)}, r"norm in .* is -inf at \[0, 0\]; expected finite"),
        (
            lambda a: {"layers.1.router.experts": at(a["layers.1.router.experts"], (4, 1), -1)},
            r"layers.1.router.experts in .* is -1 at \[4, 1\]; expected 0 to 7",
        ),
        (lambda a: {"logits": a["logits"].astype(object)}, "logits in .* cannot be read"),
    ],
)
def test_a_wrong_array_is_told(model, small, tmp_path, change, told):
    path = tmp_path / "theirs.npz"
    np.savez(path, **wrong(change)(small))
    with pytest.raises(minioss.InputError, match=told):
        read_trace(path, model.config)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_truncated_file_is_told(model, small, tmp_path, suffix):
    write_trace(tmp_path / f"golden{suffix}", small)
    content = (tmp_path / f"golden{suffix}").read_bytes()
    path = tmp_path / f"theirs{suffix}"
    for length in (0, 1, 9, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(minioss.InputError, match=f"{path}.*"):
            read_trace(path, model.config)


@settings(max_examples=400)
@given(st.sampled_from([".npz", ".safetensors"]), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=3))
def test_mutated_files(model, golden, suffix, changes):
    """Whatever bytes are changed: arrays that hold what they must, or an `InputError`."""
    content = bytearray(golden[suffix])
    for place, value in changes:
        content[int(place * (len(content) - 1))] = value
    path = golden["folder"] / f"theirs{suffix}"
    path.write_bytes(content)
    try:
        arrays = read_trace(path, model.config)
    except minioss.InputError:
        assert bytes(content) != golden[suffix]
    else:
        assert arrays["logits"].shape == (2, 101) and np.isfinite(arrays["logits"]).all()


@pytest.fixture(scope="module")
def golden(model, tmp_path_factory):
    """The bytes of a short trace, mostly headers."""
    folder = tmp_path_factory.mktemp("mutated")
    arrays = minioss.trace(model, [1, 2], ["logits"])
    for suffix in (".npz", ".safetensors"):
        write_trace(folder / f"golden{suffix}", arrays)
    contents = {suffix: (folder / f"golden{suffix}").read_bytes() for suffix in (".npz", ".safetensors")}
    return contents | {"folder": folder}


def test_wrong_paths(model, small, tmp_path):
    with pytest.raises(minioss.InputError, match="ends in '.txt'; expected .npz or .safetensors"):
        write_trace(tmp_path / "golden.txt", small)
    with pytest.raises(minioss.InputError, match="there is no file"):
        read_trace(tmp_path / "golden.npz", model.config)
    (tmp_path / "there.npz").touch()
    with pytest.raises(minioss.InputError, match="there.npz exists"):
        write_trace(tmp_path / "there.npz", small)


def test_nothing_half_written(small, tmp_path, monkeypatch):
    def failing(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", failing)
    with pytest.raises(KeyboardInterrupt):
        write_trace(tmp_path / "golden.npz", small)
    assert list(tmp_path.iterdir()) == []


# The command


def test_the_command(model, small, tmp_path):
    (tmp_path / "ids.json").write_text(json.dumps(IDS[:5].tolist()))
    out = tmp_path / "golden.npz"
    done = run("trace", model.folder, "--tokens", tmp_path / "ids.json", "-o", out)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"{out}: 5 tokens, {len(small)} arrays, \d\.\d MB\n", done.stdout)
    back = read_trace(out, model.config)
    assert all(np.array_equal(back[name], values) for name, values in small.items())


def test_the_command_with_some_keys_on_another_rung(model, tmp_path):
    (tmp_path / "ids.json").write_text("[1, 2, 3]")
    out = tmp_path / "golden.safetensors"
    given = ["trace", model.folder, "--tokens", tmp_path / "ids.json", "-o", out]
    options = ["--dtype", "float32", "--activations", "int8", "--keys", "layers.?.output"]
    assert cli.main(list(map(str, [*given, *options]))) == 0
    back = read_trace(out, model.config)
    assert list(back) == ["tokens", *(f"layers.{index}.output" for index in range(3)), "logits"]
    assert back["logits"].dtype == np.float32


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[1, 2", "is not JSON"),
        ("{}", "holds no list of integers"),
        ("[1.5]", "holds no list of integers"),
        ("[]", "at least one"),
    ],
)
def test_the_command_says_what_is_wrong_with_the_ids(model, tmp_path, capsys, content, told):
    (tmp_path / "ids.json").write_text(content)
    given = ["trace", model.folder, "--tokens", tmp_path / "ids.json", "-o", tmp_path / "golden.npz"]
    assert cli.main(list(map(str, given))) == 2
    assert told in capsys.readouterr().err
    (tmp_path / "golden.npz").touch()
    assert cli.main(list(map(str, given))) == 2
    assert "golden.npz exists" in capsys.readouterr().err
