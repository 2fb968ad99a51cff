"""The model in the package, loaded by transformers from the same folder: the same logits."""

import numpy as np
import pytest

import minioss
from tests.models import nmse

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def test_transformers_loads_the_folder_and_gives_the_same_logits():
    quantization = transformers.Mxfp4Config(dequantize=True)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        minioss.TINY, dtype=torch.float32, quantization_config=quantization, experts_implementation="eager"
    )
    encoding = minioss.load_tokenizer(minioss.TINY)
    ids = np.array(encoding.encode("Once upon a time there was a fox who wished to see the sea. " * 12))
    with torch.no_grad():
        expected = theirs(torch.from_numpy(ids)[None]).logits[0].numpy()
    assert len(ids) > 2 * minioss.load(minioss.TINY).config.sliding_window
    assert nmse(expected, minioss.load(minioss.TINY, dtype="float64")(ids)) < 1e-9
