"""Another implementation on the same folder, run here and now: transformers, in float32."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minioss.checkpoint.config_json import HUGGINGFACE
from minioss.checkpoint.loading import open_checkpoint
from minioss.config import Config
from minioss.errors import InputError


def transformers_trace(folder: str | Path, ids: NDArray[np.integer]) -> dict[str, NDArray]:
    """The tokens, and the logits that transformers gives: float32, (T, V).

    Raises
    ------
    InputError
        Where torch or transformers is missing, or the folder is in the original layout, which transformers does not read.
    """
    try:
        import torch
        from transformers import AutoModelForCausalLM, Mxfp4Config
    except ImportError as error:
        raise InputError(f"transformers cannot run ({error}): pip install 'minioss[transformers]'") from None
    checkpoint = open_checkpoint(folder)
    if checkpoint.layout != HUGGINGFACE:
        raise InputError(f"{folder} is in the {checkpoint.layout} layout; transformers reads the Hugging Face one")
    packed = "quantization_config" in json.loads((checkpoint.folder / "config.json").read_text(encoding="utf-8"))
    options = {"quantization_config": Mxfp4Config(dequantize=True)} if packed else {}
    model = AutoModelForCausalLM.from_pretrained(checkpoint.folder, dtype=torch.float32, **options).eval()
    with torch.no_grad():
        logits_TV = model(torch.from_numpy(ids.astype(np.int64))[None]).logits[0].float().numpy()
    return {"tokens": ids, "logits": logits_TV}


def drawn(config: Config) -> NDArray[np.integer]:
    """Random token ids, the same for every model of a shape: 300, or as many as go past the window twice."""
    count = min(max(300, 2 * config.sliding_window), config.max_position_embeddings)
    return np.random.default_rng(0).integers(config.vocab_size, size=count)
