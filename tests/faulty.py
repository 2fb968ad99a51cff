"""For tests of traces and faults: small models on which every mistake shows, and a prompt that lets it."""

import dataclasses

import numpy as np

import minioss
from minioss import prompts
from minioss.config import FULL, SLIDING
from minioss.mxfp4 import MXFP4Array
from tests.models import change_bytes, small_config

# Beyond 256 positions bfloat16 has no odd ones; pieces shorter than the prompt use the rings.
IDS = np.random.default_rng(6).integers(0, 101, 300)
TOKENS_PER_PIECE = 64
SHIFT = 120


def visible_config(**changes):
    """Clamps that are hit, an epsilon that counts, and no number that a port is likely to have built in."""
    shape = {"layer_types": (FULL, SLIDING, SLIDING), "swiglu_limit": 1.5, "rms_norm_eps": 1e-3}
    return small_config(**(shape | changes))


def visible_model(folder):
    """A float64 model with random weights, some MXFP4 scale bytes of which are 0."""
    minioss.synthesize(folder, visible_config())
    for layer in range(3):
        for part in ("gate_up", "down"):
            change_bytes(folder, f"model.layers.{layer}.mlp.experts.{part}_proj_scales", zero_some)
    return minioss.load(folder, dtype="float64")


def zero_some(scales):
    scales[:, 0::9, 0] = 0


def edge_model(model):
    """What experts and router see is 2^120 times as large and their weights as small, so that scale byte 0 counts."""

    def shifted(layer):
        packed = layer.experts.gate_up
        scales = (np.maximum(packed.scales.astype(int), SHIFT) - SHIFT).astype(np.uint8)
        experts = layer.experts._replace(gate_up=MXFP4Array(packed.blocks, scales))
        router = layer.router._replace(weight=layer.router.weight.decode() * np.float32(2.0**-SHIFT))
        norm = layer.experts_norm.decode() * np.float32(2.0**SHIFT)
        return layer._replace(experts_norm=norm, router=router, experts=experts)

    layers = [shifted(layer) for layer in model.weights.layers]
    return dataclasses.replace(model, weights=model.weights._replace(layers=layers))


def in_pieces(monkeypatch):
    """Let prompts go through in pieces shorter than the prompt."""
    monkeypatch.setattr(prompts, "TOKENS_PER_PIECE", TOKENS_PER_PIECE)
