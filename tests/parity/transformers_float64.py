"""The transformers implementation of gpt-oss in true float64.

As it is, its norms and its RoPE run in float32 whatever the model's type. Here both are replaced
by the same formulas in float64; nothing else is touched.
"""

import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, GptOssConfig, Mxfp4Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.gpt_oss import modeling_gpt_oss


class Norm64(torch.nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.weight, self.eps = norm.weight, norm.variance_epsilon

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))


class Rope64(torch.nn.Module):
    def __init__(self, config: GptOssConfig):
        super().__init__()
        kind = config.rope_parameters["rope_type"]
        default = modeling_gpt_oss.GptOssRotaryEmbedding.compute_default_rope_parameters
        with float32_means_float64():
            frequencies = default if kind == "default" else ROPE_INIT_FUNCTIONS[kind]
            self.frequencies, self.scale = frequencies(config, device="cpu")
        assert self.frequencies.dtype == torch.float64

    def forward(self, x, position_ids):
        angles = position_ids[..., None].double() * self.frequencies
        return angles.cos() * self.scale, angles.sin() * self.scale


@contextmanager
def float32_means_float64():
    """transformers computes the frequencies with ``dtype=torch.float`` written out; here that is float64."""
    saved = torch.float, torch.float32
    torch.float = torch.float32 = torch.float64
    try:
        yield
    finally:
        torch.float, torch.float32 = saved


def load_as_saved(folder: Path, dtype=torch.bfloat16):
    """A model folder in the Hugging Face layout as transformers' own model."""
    mxfp4 = "quantization_config" in json.loads((folder / "config.json").read_text())
    return AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        attn_implementation="eager",
        experts_implementation="eager",
        **({"quantization_config": Mxfp4Config(dequantize=True)} if mxfp4 else {}),
    ).eval()


def load(folder: Path):
    """The same in true float64."""
    return in_float64(load_as_saved(folder, torch.float64))


def in_float64(model):
    """A model of float64 weights, with the parts that run in float32 replaced."""
    for name, module in list(model.named_modules()):
        if isinstance(module, modeling_gpt_oss.GptOssRMSNorm):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, Norm64(module))
    model.model.rotary_emb = Rope64(model.config)
    stray = {name for name, value in model.named_parameters() if value.dtype != torch.float64}
    assert not stray, f"not in float64: {stray}"
    return model


def logits(folder: Path, ids: np.ndarray) -> np.ndarray:
    """Logits of all positions: float64, (T, V)."""
    with torch.no_grad():
        return load(folder)(torch.from_numpy(ids)[None]).logits[0].numpy()
