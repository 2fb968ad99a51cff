"""minioss against the logits that transformers gives in true float64, which are kept beside this file."""

from pathlib import Path

import numpy as np
import pytest

import minioss
from tests.models import Comparison, nmse
from tests.reference.cases import CASES, checksum, make

FOLDER = Path(__file__).parent


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    folder, ids = make(request.param, tmp_path_factory.mktemp("reference"))
    with np.load(FOLDER / f"{request.param}.npz") as stored:
        assert checksum(folder) == stored["checksum"], "the generator of random weights has changed: run make.py"
        assert np.array_equal(ids, stored["tokens"])
        return folder, ids, stored["logits"]


def test_float64_is_the_reference(case):
    folder, ids, reference = case
    assert np.abs(minioss.load(folder, dtype="float64")(ids) - reference).max() < 1e-11


@pytest.mark.parametrize("kernels", ["numpy", None])
def test_float32_is_close_to_it(case, kernels):
    folder, ids, reference = case
    comparison = Comparison()
    _, fair = comparison.fair(minioss.load(folder, dtype="float64"), ids)
    comparison.check()
    assert nmse(minioss.load(folder, kernels=kernels)(ids)[fair], reference[fair]) < 1e-10


def test_the_text_is_longer_than_the_window(case):
    folder, ids, _ = case
    assert len(ids) > 2 * minioss.load(folder).config.sliding_window


def test_the_cases_cover_what_they_claim():
    configs = [case.config for case in CASES.values()]
    assert {config.head_dim for config in configs} == {16, 32, 64}
    assert {config.num_experts_per_tok for config in configs} == {1, 2, 3, 4}
    assert {config.num_key_value_heads for config in configs} >= {1, 2, 5, 8}
    assert {config.num_attention_heads // config.num_key_value_heads for config in configs} >= {1, 3, 8}
    assert {config.sliding_window for config in configs} >= {1, 8, 17, 128}
    assert {(config.rope.rope_type, config.rope.truncate) for config in configs} >= {
        ("yarn", True),
        ("yarn", False),
        ("default", False),
    }
    assert len(CASES) >= 12
    assert all(config.hidden_size != config.intermediate_size for config in configs)


def test_the_clamp_is_hit(tmp_path, monkeypatch):
    seen = []
    plain = minioss.experts.swiglu

    def recording(gate_up, alpha, limit):
        seen.append((np.mean(gate_up[:, 0::2] > limit), np.mean(np.abs(gate_up[:, 1::2]) > limit)))
        return plain(gate_up, alpha, limit)

    monkeypatch.setattr(minioss.experts, "swiglu", recording)
    folder, ids = make("low-limit", tmp_path)
    minioss.load(folder, kernels="numpy")(ids)
    gate, up = np.mean(seen, axis=0)
    assert gate > 0.1 and up > 0.1
