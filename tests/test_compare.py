"""Comparing: right ports are right in every precision, wrong ones wrong where they are, and a blind test says so."""

import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import minioss
from minioss import cli
from minioss.config import FULL, SLIDING
from minioss.linear import Linear
from minioss.verify.comparing import departs_in
from minioss.verify.keys import block, inputs, keys
from minioss.verify.measures import kl, top_k_agreement
from tests.correct import PORTS, computed, shuffled
from tests.models import small_config
from tests.twins import needs_core

IDS = np.random.default_rng(3).integers(0, 101, 80)
EXPERTS = "layers.1.router.experts"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "model"
    config = small_config(num_hidden_layers=2, layer_types=(SLIDING, FULL), swiglu_limit=1.5)
    minioss.synthesize(folder, config)
    return minioss.load(folder, dtype="float64")


@pytest.fixture(scope="module")
def right(model):
    return minioss.trace(model, IDS)


@pytest.fixture(scope="module")
def port(model):
    return computed(model, IDS, "float32")


def only(arrays, *names):
    return {name: arrays[name] for name in ("tokens", *names)}


# The measures

LOGITS = arrays.arrays(np.float64, (4, 7), elements=st.floats(-30, 30))


@given(LOGITS)
def test_nothing_is_measured_where_nothing_differs(logits):
    assert (kl(logits, logits.copy()) == 0).all()
    assert top_k_agreement(logits, logits.copy(), 3) == 1


@given(LOGITS, st.permutations(range(7)))
def test_something_is_measured_where_something_differs(logits, order):
    other = logits[:, order]
    differs = (np.abs(other - logits) > 1e-3).any(axis=-1)
    assert (kl(other, logits)[differs] > 0).all() and (kl(other, logits) > -1e-12).all()


def test_logits_in_another_order(model, right):
    (figure,) = minioss.compare(model, only(right, "logits") | {"logits": right["logits"][::-1]}, "float32").figures
    assert figure.nmse > 0.5
    assert np.mean(kl(right["logits"][::-1], right["logits"])) > 0.5


# Right


def test_the_definition_itself(model, right):
    found = minioss.compare(model, right)
    assert found.verdict.verdict == "right" and found.precision == "float32"
    assert all(figure.largest == 0 and not figure.nmse and figure.ratio == 0 for figure in found.figures)
    assert found.logits == (0, 1, 1)
    assert found.judged == found.tokens == len(IDS) and found.ties == 0


@pytest.mark.parametrize("name", PORTS)
def test_correct_ports_are_right(model, name):
    for what in ("all", "logits"):
        found = minioss.compare(model, computed(model, IDS, name, what))
        assert found.verdict.verdict == "right", found.verdict
        assert found.precision == name.partition(",")[0]


@needs_core
@pytest.mark.parametrize("rung", ["float32", "bfloat16", "int8"])
def test_the_kernels_are_right(model, rung):
    kernels = replace(model, dtype="float32", kernels="cython", activations=rung)
    found = minioss.compare(model, {"tokens": IDS, "logits": kernels(IDS)})
    assert (found.verdict.verdict, found.precision) == ("right", rung)


@pytest.mark.parametrize("name", ["float32", "bfloat16, official", "int8"])
def test_sums_in_another_order_are_right(model, name):
    arrays = shuffled(model, np.random.default_rng(0)).computed(IDS, name)
    assert minioss.compare(model, arrays, name.partition(",")[0]).verdict.verdict == "right"
    assert minioss.compare(model, arrays).verdict.verdict == "right"


# Wrong

FAULTS = {
    "yarn-truncated": "rope",
    "window-plus-one": "layers.0.attention",
    "sink-dropped": "layers.0.attention",
    "router-sigmoid": "layers.0.router",
    "router-index-shifted": "layers.0.router",
    "alpha-rounded": "layers.0.experts",
    "norm-eps-1e-6": "layers.0.norms",
    "unembedding-tied": "head",
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_mistake_is_wrong_where_it_is_made(model, name):
    arrays = computed(model, IDS, "float32", fault=name)
    found = minioss.compare(model, arrays)
    assert (found.verdict.verdict, found.verdict.block) == ("wrong", FAULTS[name]), found.verdict
    found = minioss.compare(model, only(arrays, "logits"), "float32")
    assert (found.verdict.verdict, found.verdict.block) == ("wrong", None)
    assert found.verdict.confidence > 0.5


@pytest.mark.parametrize("name", ["sink-dropped", "up-plus-one-missing"])
def test_a_mistake_in_bfloat16(model, name):
    arrays = computed(model, IDS, "bfloat16, official", fault=name)
    found = minioss.compare(model, arrays)
    assert (found.precision, found.verdict.block) == ("bfloat16", FAULTS.get(name, "layers.0.experts"))


def test_other_keys_hidden(model, right):
    scores = right["layers.1.attention.scores"].copy()
    scores[:, 10, 3] = -np.inf
    found = minioss.compare(model, right | {"layers.1.attention.scores": scores})
    assert found.verdict.block == "layers.1.attention"
    assert "layers.1.attention.scores departs: -infinity is not where it should be" in found.verdict.reasons[0]


@given(st.data())
def test_the_block_holds_whatever_may_be_to_blame(model, data):
    """Of any arrays that are given: those that a departing one may have its error from are in the block that is named."""
    known = keys(model.config)
    names = data.draw(st.lists(st.sampled_from(list(known)[1:]), min_size=1, unique=True))
    departing = data.draw(st.sampled_from(names))
    named = departs_in(departing, dict.fromkeys(names), model.config)
    wrong = dict.fromkeys(known, False) | {departing: True}
    for name in reversed(known):
        for other in inputs(name, model.config):
            wrong[other] |= wrong[name] and other not in names
    for name in (name for name in known if wrong[name] and not name.startswith("rope")):
        assert named is None or block(name, known[name]).startswith(named)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["logits"], None),
        (["norm", "logits"], "head"),
        (["layers.0.output", "layers.1.output"], "layers.1"),
        (["layers.0.attention.q", "layers.0.attention.q_rope"], "layers.0.rope"),
        (["embedding", "layers.0.attention.scores", "layers.0.attention.mixed"], "layers.0"),
        (["rope.sin"], "rope"),
    ],
)
def test_the_block_of_the_last(model, names, expected):
    assert departs_in(names[-1], dict.fromkeys(names), model.config) == expected


def test_every_array_is_computed_from_those_before_it(model):
    known = list(keys(model.config))
    for place, name in enumerate(known):
        assert set(inputs(name, model.config)) <= set(known[:place])
        assert inputs(name, model.config) or name in ("tokens", "embedding", "rope.cos", "rope.sin")


# Precision


def noisy(right, size):
    noise = np.random.default_rng(1).standard_normal(right["logits"].shape)
    return only(right, "logits") | {"logits": right["logits"] + size * right["logits"].std() * noise}


def test_noise_of_an_unknown_kind(model, right):
    """Its size would fit bfloat16, but it is none: whether that is wrong depends on the precision, which we do not know."""
    arrays = noisy(right, 0.01)
    found = minioss.compare(model, arrays)
    assert found.verdict.verdict == "cannot say" and "would explain an error of that size" in found.verdict.reasons[1]
    assert minioss.compare(model, arrays, "float32").verdict.verdict == "wrong"
    assert minioss.compare(model, arrays, "bfloat16").verdict.verdict == "right"
    assert minioss.compare(model, noisy(right, 1e-4)).verdict.verdict == "wrong"
    assert minioss.compare(model, noisy(right, 1.0)).verdict.verdict == "wrong"


def test_a_precision_that_is_told_counts(model):
    arrays = computed(model, IDS, "bfloat16, transformers", "logits")
    assert minioss.compare(model, arrays, "float32").verdict.verdict == "wrong"
    with pytest.raises(minioss.InputError, match="precision is 'float16'; expected 'float32', 'bfloat16', 'int8'"):
        minioss.compare(model, arrays, "float16")


# Near-ties of the router


def tied(model):
    """Experts 0 and 1 of the last layer tie for every token, as far as float32 can tell."""
    *layers, last = model.weights.layers
    weight, bias = (each.decode(np.float64) for each in last.router)
    weight[1], bias[1] = weight[0], bias[0] - 1e-7
    layers.append(last._replace(router=Linear(weight, bias)))
    return replace(model, weights=model.weights._replace(layers=layers))


def other_choice(model, right, old, new):
    """The trace of a port that takes expert ``new`` where ``old`` is last and ``new`` is not chosen; and how often."""
    experts = right[EXPERTS].copy()
    places = (experts[:, -1] == old) & (experts != new).all(axis=-1)
    experts[places, -1] = new
    return minioss.trace(model, IDS, instead={EXPERTS: experts}) | {EXPERTS: experts}, places.sum()


def test_a_tie_is_no_mistake(model):
    model = tied(model)
    arrays, count = other_choice(model, minioss.trace(model, IDS), 0, 1)
    found = minioss.compare(model, arrays)
    assert count > 0 and found.verdict.verdict == "right", found.verdict
    assert found.ties == count and f"{found.ties} time(s) the port chose another expert" in found.verdict.reasons[1]


def test_another_choice_is_a_mistake_where_there_is_no_tie(model, right):
    arrays, count = other_choice(model, right, 2, 3)
    found = minioss.compare(model, arrays)
    assert count > 0 and found.verdict.block == "layers.1.router" and found.ties == 0
    wrong = [figure.name for figure in found.figures if figure.ratio > 1]
    assert wrong == [EXPERTS]


def test_the_choice_alone(model, right):
    assert minioss.compare(model, only(right, EXPERTS)).verdict.verdict == "cannot say"
    twice = right[EXPERTS].copy()
    twice[5] = twice[5, 0]
    found = minioss.compare(model, only(right, EXPERTS) | {EXPERTS: twice})
    assert (found.verdict.verdict, found.figures[0].largest) == ("wrong", np.inf)


def test_with_logits_alone_tokens_before_a_tie_are_judged(model):
    model = tied(model)
    right = minioss.trace(model, IDS)
    arrays, count = other_choice(model, right, 0, 1)
    found = minioss.compare(model, only(arrays, "logits"))
    assert found.judged < np.flatnonzero((arrays[EXPERTS] != right[EXPERTS]).any(axis=-1))[0] + 1
    assert found.verdict.verdict in ("right", "cannot say")
    assert any("only the tokens before it, of 80, are judged" in reason for reason in found.verdict.reasons)


# Tests that prove nothing


def test_no_longer_than_the_window(model):
    for count, verdict in ((1, "cannot say"), (8, "cannot say"), (16, "right")):
        found = minioss.compare(model, computed(model, IDS[:count], "float32"))
        assert found.verdict.verdict == verdict, found.verdict
    found = minioss.compare(model, computed(model, IDS[:8], "float32", "logits"))
    assert found.verdict.reasons[0].startswith("This test cannot see window-missing (Every layer sees all tokens)")
    assert any("experts were never chosen" in reason for reason in found.verdict.reasons)


def test_one_token(model):
    config = replace(model.config, layer_types=(FULL, FULL))
    found = minioss.compare(replace(model, config=config), computed(replace(model, config=config), IDS[:1], "float32"))
    assert found.verdict.reasons[0].startswith("This test cannot see rope-neighbours")
    assert not any("window" in reason for reason in found.verdict.reasons)


# Another checkpoint


def test_another_checkpoint(model, tmp_path):
    minioss.synthesize(tmp_path / "other", model.config, seed=1)
    theirs = computed(minioss.load(tmp_path / "other"), IDS, "float32")
    found = minioss.compare(model, only(theirs, "embedding", "logits"))
    assert found.verdict.verdict == "wrong"
    for name, reason in zip(("embedding", "logits"), found.verdict.reasons[1:], strict=True):
        assert reason.startswith(f"{name} has nothing to do with this checkpoint's")


def test_arrays_that_the_reference_cannot_go_on_from(model, right):
    huge = {f"layers.0.{name}.output": np.full(right["embedding"].shape, 1.7e308) for name in ("attention", "experts")}
    with pytest.raises(minioss.InputError, match="the reference cannot go on from the port's arrays: layer 0: "):
        minioss.compare(model, right | huge)


# The command


@pytest.fixture(scope="module")
def files(model, port, tmp_path_factory):
    folder = tmp_path_factory.mktemp("traces")
    np.savez(folder / "right.npz", **only(port, "logits"))
    np.savez(folder / "wrong.npz", **only(port, "logits") | {"logits": port["logits"][:, ::-1]})
    short = computed(model, IDS[:8], "float32", "logits")
    np.savez(folder / "short.npz", **short)
    for name, ids in (("same", IDS), ("fewer", IDS[:7]), ("other", np.where(np.arange(80) == 5, IDS + 1, IDS) % 101)):
        (folder / f"{name}.json").write_text(json.dumps(ids.tolist()))
    return folder


def verify(capsys, model, *given):
    code = cli.main(list(map(str, ["verify", model.folder, *given])))
    return code, capsys.readouterr()


@pytest.mark.parametrize(("name", "code"), [("right", 0), ("wrong", 1), ("short", 2)])
def test_exit_codes_and_json(model, files, capsys, name, code):
    found, printed = verify(capsys, model, files / f"{name}.npz", "--json")
    said = json.loads(printed.out)
    assert found == code and said["verdict"] == {0: "right", 1: "wrong", 2: "cannot say"}[code]
    assert {"verdict", "mistakes", "block", "confidence", "reasons", "precision", "figures", "logits"} <= set(said)
    assert said["mistakes"] == [] and 0 <= said["confidence"] <= 1


def test_what_it_prints(model, files, capsys):
    code, printed = verify(capsys, model, files / "wrong.npz", "--tokens", files / "same.json")
    lines = printed.out.splitlines()
    assert code == 1 and lines[0] == "verdict     wrong" and "logits departs: its error is" in lines[1]
    assert lines[-1].split()[0] == "logits" and lines[-1].endswith("times")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "expected a trace or --against, one of them"),
        (["right.npz", "--against", "transformers"], "expected a trace or --against, one of them"),
        (["right.npz", "--tokens", "fewer.json"], "right.npz has 80 tokens; .*fewer.json has 7"),
        (["right.npz", "--tokens", "other.json"], r"token 5 in .*right.npz is \d+; in .*other.json it is"),
        (["missing.npz"], "there is no file .*missing.npz"),
    ],
)
def test_wrong_arguments(model, files, capsys, monkeypatch, given, told):
    monkeypatch.chdir(files)
    code, printed = verify(capsys, model, *given)
    assert code == 2 and re.search(told, printed.err)


def test_transformers_is_missing(model, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    code, printed = verify(capsys, model, "--against", "transformers")
    assert code == 2 and "pip install 'minioss[transformers]'" in printed.err
