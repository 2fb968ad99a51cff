"""Diagnosis: mistakes are named, right ports are left in peace, and what is not known is called unknown."""

import dataclasses
import json
from contextlib import ExitStack

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minioss
from minioss import cli, kernels
from minioss.config import FULL, SLIDING
from minioss.verify import reference, rounding
from minioss.verify.diagnosis import coarse, diagnose, evidence
from minioss.verify.diagnosis.noise import Noise
from minioss.verify.diagnosis.telling import GIVEN_AND_TRUE, confidence
from minioss.verify.faults import CATALOGUE
from tests.benchmarks.diagnosis import remembered
from tests.benchmarks.unlisted import UNLISTED
from tests.faulty import visible_config

IDS = np.random.default_rng(3).integers(0, 101, 48)
LONG = np.random.default_rng(4).integers(0, 101, 120)
OF_EACH_BLOCK = {
    "embedding-scaled": "tokens",
    "norm-eps-1e-6": "norms",
    "yarn-truncated": "rope",
    "window-plus-one": "attention",
    "router-softmax-over-all": "router",
    "alpha-rounded": "experts",
    "mxfp4-nibbles-swapped": "mxfp4",
    "unembedding-tied": "head",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    shape = {"num_hidden_layers": 2, "layer_types": (FULL, SLIDING), "hidden_size": 64, "intermediate_size": 32}
    folder = tmp_path_factory.mktemp("models") / "visible"
    minioss.synthesize(folder, visible_config(**shape, num_local_experts=4), seed=7)
    return minioss.load(folder, dtype="float64")


@pytest.fixture(scope="module", autouse=True)
def quick():
    """What the reference predicts of logits is computed once for all ports on the same tokens."""
    with remembered():
        yield


def port(model, *mistakes, ids=IDS, wanted=("logits",), rounded=None, **changes):
    """What the model computes in float32, or more coarsely, with some mistakes."""
    model = dataclasses.replace(model, dtype="float32", kernels="numpy", **changes)
    with ExitStack() as stack:
        for each in (*([rounded()] if rounded else []), *map(minioss.fault, mistakes)):
            stack.enter_context(each)
        return minioss.trace(model, ids, wanted)


@pytest.mark.parametrize("name", OF_EACH_BLOCK)
def test_a_mistake_is_named_from_logits_alone(model, name):
    found = diagnose(model, port(model, name))
    assert (found.verdict.verdict, found.verdict.mistakes) == ("wrong", (name,))
    assert found.verdict.block == OF_EACH_BLOCK[name] and found.precision == "float32"
    assert any(CATALOGUE[name].official in reason and f"faults.md#{name}" in reason for reason in found.verdict.reasons)


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("heads-modulo", "layers.0.attention"),
        ("window-plus-one", "layers.1.attention"),
        ("rope-neighbours", "layers.0.rope"),
        ("mxfp4-nibbles-swapped", "layers.0.experts"),
        ("logits-soft-capped", "head"),
    ],
)
def test_a_mistake_is_named_and_placed_from_traces(model, name, block):
    verdict = diagnose(model, port(model, name, wanted=["*"])).verdict
    assert (verdict.mistakes, verdict.block) == ((name,), block)


@pytest.mark.parametrize("name", ["alpha-one", "sink-dropped", "yarn-truncated", "norm-mean-subtracted"])
def test_a_mistake_is_named_under_rounding(model, name):
    found = diagnose(model, port(model, name, ids=LONG, rounded=rounding.official))
    assert found.verdict.mistakes == (name,) and found.precision == "bfloat16 or int8"
    coefficient, error = found.coefficient
    assert abs(coefficient - 1) < 0.1 and 0 < error < 0.2


def test_a_mistake_smaller_than_the_rounding_is_not_named_but_listed(model):
    found = diagnose(model, port(model, "alpha-rounded", rounded=rounding.official))
    assert found.verdict.verdict == "right" and 0 < found.unseen["alpha-rounded"] < 0.1
    assert "sink-dropped" not in found.unseen
    assert any("alpha-rounded (" in reason and "of the noise)" in reason for reason in found.verdict.reasons)


@pytest.mark.parametrize(
    "precision",
    [{}, {"rounded": rounding.float32_angles}, {"rounded": rounding.transformers}, {"activations": "int8"}],
    ids=str,
)
@pytest.mark.parametrize("wanted", ["logits", "*"])
def test_right_ports_are_right(model, precision, wanted):
    found = diagnose(model, port(model, wanted=[wanted], **precision))
    assert found.verdict.verdict == "right" and found.verdict.mistakes == () and found.verdict.block is None
    coarse = "activations" in precision or precision.get("rounded") is rounding.transformers
    assert found.precision == ("bfloat16 or int8" if coarse else "float32")


def test_two_mistakes_are_named_together(model):
    """Here both show at the first token, there in two layers."""
    pair = ("sink-dropped", "alpha-one")
    assert set(diagnose(model, port(model, *pair, ids=IDS[:12])).verdict.mistakes) == set(pair)
    pair = ("window-plus-one", "router-sigmoid")
    found = diagnose(model, port(model, *pair, wanted=["*"]))
    assert set(found.verdict.mistakes) == set(pair) and not found.alternatives
    assert found.verdict.block == "layers.0.router"


def test_mistakes_that_do_the_same_are_all_named(model):
    """A prompt in one piece cannot tell a cache that evicts nothing from a window that is missing."""
    found = diagnose(model, port(model, "window-missing"))
    assert found.alternatives and set(found.verdict.mistakes) == {"window-missing", "window-of-first-query"}


@pytest.mark.parametrize("name", ["sinks doubled", "RoPE's base 500000", "router weights squared", "up negated"])
def test_an_unlisted_mistake_is_unknown_and_placed(model, name):
    block, wrappers = UNLISTED[name]
    with kernels.wrapping(wrappers):
        theirs = port(model, wanted=["*"])
    verdict = diagnose(model, theirs).verdict
    assert (verdict.verdict, verdict.mistakes) == ("wrong", ())
    assert verdict.block.removeprefix("layers.0.") == block


def test_an_unlisted_mistake_is_unknown_from_logits(model):
    with kernels.wrapping(UNLISTED["sinks doubled"][1]):
        theirs = port(model)
    verdict = diagnose(model, theirs).verdict
    assert (verdict.verdict, verdict.mistakes, verdict.block) == ("wrong", (), None)


def test_an_unknown_mistake_that_is_smaller_than_rounding_does_not_pass_for_it(model):
    """All else is exact: this port does not round."""

    def alpha_slightly_off(right, gate_up_T2F, alpha, limit):
        return right(gate_up_T2F, 1.69, limit)

    with kernels.wrapping({"experts.swiglu": alpha_slightly_off}):
        theirs = port(model, wanted=["*"])
    verdict = diagnose(model, theirs).verdict
    assert (verdict.verdict, verdict.mistakes, verdict.block) == ("wrong", (), "layers.0.experts")


def test_what_tokens_cannot_show_is_told(model):
    """A prompt as long as the window proves nothing about the window."""
    found = diagnose(model, port(model, "window-plus-one", ids=IDS[:8]))
    assert found.verdict.verdict == "right" and {"window-plus-one", "window-missing"} <= set(found.unseen)
    assert any("window-plus-one" in reason and "1024" in reason for reason in found.verdict.reasons)


def test_few_rounded_tokens_say_nothing(model):
    assert diagnose(model, port(model, ids=IDS[:5], rounded=rounding.official)).verdict.verdict == "cannot say"


def test_some_columns_of_a_large_vocabulary_will_do(model, monkeypatch):
    monkeypatch.setattr(evidence, "MOST_COLUMNS", 40)
    for name in ("unembedding-tied", "sink-zero"):
        assert diagnose(model, port(model, name, ids=IDS[:30])).verdict.mistakes == (name,)


def test_weights_need_not_fit_in_memory(model, monkeypatch):
    monkeypatch.setattr(reference, "MOST_VALUES", 0)
    assert diagnose(model, port(model, "gate-gelu", ids=IDS[:20])).verdict.mistakes == ("gate-gelu",)


def test_the_beginning_of_a_port_stands_for_itself(model):
    theirs = port(model, "router-sigmoid", wanted=["*"])
    whole = evidence.port(model, theirs)
    part = evidence.first_layers(whole, 1)
    for mistakes in ((), ("router-sigmoid",), ("sink-dropped",)):
        left_KT, whole_KT = (evidence.gathered(each, mistakes).left_KT for each in (part, whole))
        assert np.allclose(left_KT, whole_KT[: len(part.names)], rtol=1e-9, atol=1e-20)


# The measures


@given(
    st.floats(-3, 3).filter(lambda a: abs(a) > 0.05),
    st.integers(0, 15),
    st.floats(1e-3, 0.3),
    st.integers(0, 2**32 - 1),
)
def test_the_coefficient_is_found_whatever_a_quarter_of_the_tokens_do(a, flipped, size, seed):
    random = np.random.default_rng(seed)
    e_TX, noise_TX = random.normal(size=(2, 60, 40))
    d_TX = a * e_TX + size * abs(a) * noise_TX
    d_TX[:flipped] += 100 * random.normal(size=(flipped, 40))
    noise = Noise(np.full(1, 1e-10), None, None, 0.0, 0.0)
    right, wrong = (
        evidence.Evidence(np.square(left).sum(1)[None], np.square(e_TX).sum(1)[None], None)
        for left in (d_TX, d_TX - e_TX)
    )
    found = coarse.support(noise, right, wrong)
    assert abs(found.coefficient - a) < 8 * found.error + 1e-6 and found.error < 0.2 * abs(a)


@given(
    st.one_of(st.floats(0.001, 0.03), st.floats(0.7, 2)),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_what_could_show_is_what_is_large_beside_the_noise(size, is_there, seed):
    """Whether the mistake is in what the port is off by, or not yet."""
    e_TX, noise_TX = np.random.default_rng(seed).normal(size=(2, 60, 40)) * [[[size]], [[1]]]
    d_TX = noise_TX + is_there * e_TX
    noise = Noise(np.full(1, 1e-10), None, None, 0.0, 0.0)
    effect_KT = np.square(e_TX).sum(1)[None]
    right, wrong = (evidence.Evidence(np.square(left).sum(1)[None], effect_KT, None) for left in (d_TX, d_TX - e_TX))
    assert coarse.could_show(noise, right, wrong) == (size > 0.1)


# The answer


def test_confidence_is_between_what_was_seen_and_a_coin():
    for answer, (count, true) in GIVEN_AND_TRUE.items():
        assert 0.5 < confidence(answer) < 1 and true <= count
        assert abs(confidence(answer) - true / count) < 2 / count


# The command


def test_the_command(model, tmp_path, capsys):
    out = tmp_path / "theirs.npz"
    np.savez(out, **port(model, "sink-dropped"))
    assert cli.main(["diagnose", str(model.folder), str(out)]) == 1
    told = capsys.readouterr().out
    assert "mistake     sink-dropped\n" in told and "wrong, first in attention\n" in told
    assert cli.main(["diagnose", str(model.folder), str(out), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["mistakes"] == ["sink-dropped"] and found["confidence"] > 0.99
    assert {"verdict", "block", "reasons", "runner_up", "unseen"} <= set(found)
    np.savez(out, tokens=IDS, logits=model(IDS)[:, 1:])
    assert cli.main(["diagnose", str(model.folder), str(out)]) == 2
    assert "logits in" in capsys.readouterr().err
