"""For tests of traces and faults: a small model on which every mistake shows, and a prompt that lets it."""

import numpy as np

import minioss
from minioss import prompts
from tests.models import change_bytes, small_config

# Beyond 256 positions bfloat16 has no odd ones; pieces shorter than the prompt use the rings.
IDS = np.random.default_rng(6).integers(0, 101, 300)
TOKENS_PER_PIECE = 64


def visible_config(**changes):
    """Clamps that are hit, an epsilon that counts, and no number that a port is likely to have built in."""
    shape = {"num_hidden_layers": 2, "swiglu_limit": 1.5, "rms_norm_eps": 1e-3}
    return small_config(**(shape | changes))


def visible_model(folder):
    """A float64 model with random weights, some MXFP4 scale bytes of which are 0."""
    minioss.synthesize(folder, visible_config())
    for layer in range(2):
        for part in ("gate_up", "down"):
            change_bytes(folder, f"model.layers.{layer}.mlp.experts.{part}_proj_scales", zero_some)
    return minioss.load(folder, dtype="float64")


def zero_some(scales):
    scales[:, 0::9, 0] = 0


def in_pieces(monkeypatch):
    """Let prompts go through in pieces shorter than the prompt."""
    monkeypatch.setattr(prompts, "TOKENS_PER_PIECE", TOKENS_PER_PIECE)
