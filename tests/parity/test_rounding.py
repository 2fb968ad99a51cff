"""The reference that rounds like transformers gives what transformers gives in bfloat16."""

import numpy as np
import pytest

import minioss
from minioss.verify import rounding
from tests.faulty import visible_config
from tests.models import nmse

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
transformers_float64 = pytest.importorskip("tests.parity.transformers_float64")


@pytest.mark.parametrize("config", [visible_config(), minioss.preset("tiny")], ids=["small", "tiny"])
def test_rounding_explains_what_bfloat16_does(config, tmp_path):
    minioss.synthesize(tmp_path / "model", config)
    ids = np.random.default_rng(0).integers(config.vocab_size, size=100)
    theirs = logits(tmp_path / "model", ids, torch.bfloat16)
    model = minioss.load(tmp_path / "model", kernels="numpy")
    exact = model(ids)
    with rounding.transformers():
        rounded = model(ids)
    left = [
        nmse(*pair) / nmse(theirs[token], exact[token]) for token, pair in enumerate(zip(rounded, theirs, strict=True))
    ]
    assert np.median(left) < 0.25
    assert nmse(rounded[0], theirs[0]) < 0.1 * nmse(exact[0], theirs[0])


def test_float32_angles_err_as_much_as_those_of_transformers(tmp_path):
    config = visible_config(rope=minioss.RopeConfig(), head_dim=64)
    minioss.synthesize(tmp_path / "model", config)
    theirs = transformers_float64.load_as_saved(tmp_path / "model", torch.float32).model.rotary_emb
    for positions in (np.arange(500, 1000), np.arange(50000, 50500)):
        exact = minioss.rope.rotation(positions, config.rope, config.head_dim, np.float64).cos_Tk
        with rounding.float32_angles():
            turn = minioss.rope.rotation(positions, config.rope, config.head_dim, np.float32)
        cos_1Tk, _ = theirs(torch.zeros(1), torch.from_numpy(positions)[None])
        assert 0.25 < nmse(turn.cos_Tk, exact) / nmse(cos_1Tk[0].numpy(), exact) < 4


def logits(folder, ids, dtype):
    with torch.no_grad():
        theirs = transformers_float64.load_as_saved(folder, dtype)(torch.from_numpy(ids)[None])
    return theirs.logits[0].float().numpy()
