"""The catalogue of mistakes: each shows, where it says, and is gone afterwards."""

import dataclasses
import re
import threading
from pathlib import Path

import numpy as np
import pytest

import minioss
from minioss import kernels
from minioss.verify.faults import CATALOGUE
from minioss.verify.keys import keys
from tests.faulty import IDS, edge_model, in_pieces, visible_model
from tests.models import nmse
from tests.twins import needs_core

PAGE = Path(__file__).parent.parent / "docs" / "faults.md"
# Shown by weights near the smallest that there are, and by no others.
AT_THE_EDGE = ("mxfp4-scale-zero-as-zero", "mxfp4-subnormals-flushed")
BLOCKS = ("tokens", "norms", "rope", "attention", "router", "experts", "mxfp4", "head")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return visible_model(tmp_path_factory.mktemp("models") / "visible")


@pytest.fixture(autouse=True)
def pieces(monkeypatch):
    in_pieces(monkeypatch)


@pytest.fixture(scope="module")
def edge(model):
    return edge_model(model)


@pytest.fixture(scope="module")
def right(model):
    return right_trace(model)


@pytest.fixture(scope="module")
def right_at_the_edge(edge):
    return right_trace(edge)


def right_trace(model):
    with pytest.MonkeyPatch.context() as patch:
        in_pieces(patch)
        return minioss.trace(model, IDS)


def test_the_catalogue_is_long_and_says_what_it_means():
    assert len(CATALOGUE) >= 50
    for name, entry in CATALOGUE.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", name) and entry.name == name
        assert entry.block in BLOCKS and entry.function in kernels.NUMPY
        for sentence in (entry.wrong, entry.official):
            assert re.fullmatch(r"\S[^\n]+\.", sentence), name
    assert len({entry.wrong for entry in CATALOGUE.values()}) == len(CATALOGUE)


@pytest.mark.parametrize("name", CATALOGUE)
def test_each_shows_in_the_block_that_it_names(model, right, edge, right_at_the_edge, name):
    if name in AT_THE_EDGE:
        model, right = edge, right_at_the_edge
    with minioss.fault(name):
        wrong = minioss.trace(model, IDS)
    assert list(wrong) == list(right)
    assert np.isfinite(wrong["logits"]).all()
    assert nmse(wrong["logits"], right["logits"]) > 1e-9
    first = next(key for key in right if not np.array_equal(wrong[key], right[key]))
    block = CATALOGUE[name].block
    assert keys(model.config)[first].block == ("experts" if block == "mxfp4" else block), first


def test_no_two_are_the_same(model, edge):
    """Diagnosis tells mistakes apart by what they do to the logits."""
    seen = {}
    for name in CATALOGUE:
        with minioss.fault(name):
            logits = (edge if name in AT_THE_EDGE else model)(IDS)
        for other, before in seen.items():
            assert nmse(logits, before) > 1e-12, (name, other)
        seen[name] = logits


@pytest.mark.parametrize("rung", ["float32", "bfloat16"])
def test_each_keeps_the_type_of_the_activations(model, rung):
    coarse = dataclasses.replace(model, dtype="float32", activations=rung)
    for name in CATALOGUE:
        with minioss.fault(name):
            arrays = minioss.trace(coarse, IDS[:20])
        types = {str(values.dtype) for key, values in arrays.items() if not key.endswith(("tokens", "router.experts"))}
        assert types == {"float32"}, name


def test_the_right_logits_come_back(model, right):
    with minioss.fault("yarn-truncated"):
        assert not np.array_equal(model(IDS), right["logits"])
    assert np.array_equal(model(IDS), right["logits"])


def test_an_exception_inside_ends_the_fault(model, right):
    with pytest.raises(minioss.InputError, match="at least one token"), minioss.fault("alpha-one"):
        model([])
    assert np.array_equal(model(IDS), right["logits"])


def test_two_compose(model, right):
    """Each changes its own key; nested around one function, both act."""
    with minioss.fault("output-bias-missing"), minioss.fault("sink-dropped"):
        both = minioss.trace(model, IDS)
    with minioss.fault("output-bias-missing"):
        one = minioss.trace(model, IDS)
    assert np.isneginf(both["layers.0.attention.scores"][..., -1]).all()
    assert np.array_equal(one["layers.0.attention.mixed"], right["layers.0.attention.mixed"])
    expected = both["layers.0.attention.mixed"].reshape(len(IDS), -1)
    output = model.weights.layers[0].attention.output.weight.decode(np.float64)
    assert np.allclose(both["layers.0.attention.output"], expected @ output.T, rtol=0, atol=1e-12)
    with minioss.fault("norm-gain-plus-one"), minioss.fault("norm-gain-plus-one"):
        twice = minioss.trace(model, IDS, ["layers.0.attention_norm"])["layers.0.attention_norm"]
    gain = model.weights.layers[0].attention_norm.decode(np.float64)
    assert np.allclose(twice, right["layers.0.attention_norm"] / gain * (gain + 2))


def test_threads_do_not_see_each_others_faults(model, right):
    seen = []
    with minioss.fault("router-sigmoid"):
        thread = threading.Thread(target=lambda: seen.append(model(IDS)))
        thread.start()
        thread.join()
    assert np.array_equal(seen[0], right["logits"])


def test_an_unknown_name(model):
    with pytest.raises(minioss.InputError, match="no fault 'yarn-truncate'; did you mean yarn-truncated"):
        minioss.fault("yarn-truncate")
    with pytest.raises(minioss.InputError, match="no fault 'x'; docs/faults.md lists them all"):
        minioss.fault("x")


@needs_core
def test_kernels_stay_out(tiny, core):
    choosing, insisting = minioss.load(tiny), minioss.load(tiny, kernels="cython")
    pure = minioss.load(tiny, kernels="numpy")
    with minioss.fault("sink-dropped"):
        assert np.array_equal(choosing(IDS), pure(IDS))
        with pytest.raises(minioss.InputError, match="kernels is 'cython'; a trace or a fault runs in NumPy alone"):
            insisting(IDS)
    with pytest.raises(minioss.InputError, match="kernels is 'cython'; a trace or a fault runs in NumPy alone"):
        minioss.trace(insisting, IDS)
    assert np.isfinite(insisting(IDS)).all()


# The page


def table():
    """The catalogue as the page has it."""
    yield "| name | block | what is wrong | what the official code does | seen in |"
    yield "|---|---|---|---|---|"
    for block in BLOCKS:
        for entry in CATALOGUE.values():
            if entry.block == block:
                wrong, official = (sentence.replace("|", "\\|") for sentence in (entry.wrong, entry.official))
                yield f'| <a id="{entry.name}"></a>`{entry.name}` | {block} | {wrong} | {official} | {entry.seen} |'


def test_the_page_has_them_all():
    assert PAGE.read_text(encoding="utf-8").endswith("\n".join(["", *table(), ""])), "python -m tests.test_faults"


if __name__ == "__main__":
    text, _, _ = PAGE.read_text(encoding="utf-8").partition("| name |")
    PAGE.write_text("\n".join([text.rstrip("\n"), "", *table(), ""]), encoding="utf-8")
