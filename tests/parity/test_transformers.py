"""The files load in transformers, and it gives the same logits: live, on shapes that hypothesis draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minioss
from tests.models import Comparison, configs, edge_scales, nmse, small_config, synthesize
from tests.reference import cases

pytest.importorskip("torch")
pytest.importorskip("transformers")
transformers_float64 = pytest.importorskip("tests.parity.transformers_float64")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("parity")


def test_drawn_shapes(folder):
    comparison = Comparison()

    @settings(max_examples=40)
    @given(configs(), st.booleans(), st.integers(0, 2**32))
    def same_logits(config, dense, seed):
        out = synthesize(folder, config, dense=dense, seed=seed)
        ids = np.random.default_rng(seed).integers(config.vocab_size, size=3 * config.sliding_window + 5)
        reference = transformers_float64.logits(out, ids)
        logits, fair = comparison.fair(minioss.load(out, dtype="float64"), ids)
        assert np.abs(logits - reference).max() < 1e-11
        assert nmse(minioss.load(out)(ids)[fair], reference[fair]) < 1e-10

    same_logits()
    comparison.check()


@pytest.mark.parametrize("name", cases.CASES)
def test_the_kept_logits_are_what_transformers_gives(name, folder):
    out, ids = cases.make(name, folder)
    with np.load(cases.Path(cases.__file__).parent / f"{name}.npz") as stored:
        assert np.abs(transformers_float64.logits(out, ids) - stored["logits"]).max() < 1e-12


def test_edge_scales_decode_alike(folder):
    out = synthesize(folder, small_config(hidden_size=160))
    edge_scales(out)
    ids = np.arange(60)
    reference = transformers_float64.logits(out, ids)
    assert np.abs(minioss.load(out, dtype="float64")(ids) - reference).max() < 1e-11


def test_a_folder_saved_by_transformers_opens(folder):
    """transformers 5 writes ``rope_parameters`` and, for a dense model, transposed experts."""
    out = synthesize(folder, small_config(), dense=True)
    saved = folder / "saved-by-transformers"
    transformers_float64.load_as_saved(out).save_pretrained(saved)
    assert "rope_parameters" in (saved / "config.json").read_text()
    ids = np.arange(40)
    assert np.array_equal(minioss.load(saved)(ids), minioss.load(out)(ids))


def test_sampling_filters_agree():
    import torch
    from transformers import (
        MinPLogitsWarper,
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    from minioss.text.sampling import Sampling, candidates, penalize

    @settings(max_examples=200)
    @given(
        st.integers(0, 2**32),
        st.floats(0.2, 3),
        st.one_of(st.none(), st.integers(1, 60)),
        st.floats(0.05, 1),
        st.floats(0, 0.5),
        st.floats(0.5, 2),
    )
    def same_probabilities(seed, temperature, top_k, top_p, min_p, penalty):
        random = np.random.default_rng(seed)
        logits, seen = 3 * random.standard_normal(50), random.integers(50, size=9)
        sampling = Sampling(penalty, temperature, top_k, top_p, min_p)
        ids, probabilities = candidates(penalize(logits, seen, penalty), sampling)
        ours = np.zeros(50)
        ours[ids] = probabilities
        theirs, history = torch.from_numpy(logits)[None], torch.from_numpy(seen)[None]
        steps = [RepetitionPenaltyLogitsProcessor(penalty), TemperatureLogitsWarper(temperature)]
        steps += [TopKLogitsWarper(top_k)] if top_k else []
        steps += [TopPLogitsWarper(top_p), MinPLogitsWarper(min_p)]
        for step in steps:
            theirs = step(history, theirs)
        assert np.allclose(ours, torch.softmax(theirs, -1)[0].numpy(), atol=1e-12)

    same_probabilities()


def test_the_byte_tokenizer_is_read_alike(tiny):
    from transformers import AutoTokenizer

    theirs, ours = AutoTokenizer.from_pretrained(tiny), minioss.load_tokenizer(tiny)

    @given(st.text(max_size=40))
    def same_ids(text):
        assert theirs.encode(text, add_special_tokens=False) == ours.encode(text, allowed_special="all")

    same_ids()
    text = "<|start|>user<|message|>hé<|end|>"
    assert theirs.encode(text, add_special_tokens=False) == ours.encode(text, allowed_special="all")
