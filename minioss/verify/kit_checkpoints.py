"""The checkpoints of the conformance kit: small models on which every known mistake shows.

No shape has the real model's coincidences: hidden size, intermediate size and heads times head size
all differ, and there are not as many key/value heads as query heads in a group. Every list of tokens
is longer than the window.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minioss.checkpoint import layouts, synthetic
from minioss.config import FULL, SLIDING, Config, RopeConfig
from minioss.mxfp4 import BLOCK

SEED = 0
# 2^117 times as large, as the exponent of a bfloat16: scale bytes 0 to 2 then give what 117 to 119 give without it. Not more:
# a port may multiply by the scale last, and its sums are not to overflow before.
EDGE = 117 << 7

# What each form of a checkpoint is called within its folder; "original" lies where the official folder has it.
FORMS = {"huggingface": "model", "original": "model/original", "dense": "dense", "gguf": "model.gguf"}


class Checkpoint(NamedTuple):
    """One checkpoint of the kit.

    Parameters
    ----------
    purpose : what it is for, in a sentence or two
    config : the model's shape
    length : how many tokens its list has
    forms : of `FORMS`, those that it is written in
    golden : which arrays its golden trace holds beside tokens and logits
    has_edge_scales : whether MXFP4 scale bytes are as small as they can be
    """

    purpose: str
    config: Config
    length: int
    forms: tuple[str, ...]
    golden: tuple[str, ...] = ()
    has_edge_scales: bool = False


SMALL = {"hidden_size": 96, "intermediate_size": 64, "head_dim": 64, "sliding_window": 128}

CHECKPOINTS = {
    "released": Checkpoint(
        "Every number that a released config fixes, in other shapes: YaRN, window, limit, order of layers, four "
        "active experts. A port of gpt-oss must be right on it.",
        Config(
            num_hidden_layers=4,
            num_attention_heads=6,
            num_key_value_heads=2,
            num_local_experts=8,
            num_experts_per_tok=4,
            vocab_size=272,
            **SMALL,
        ),
        length=300,
        forms=("huggingface", "original", "dense", "gguf"),
        golden=("layers.?.router.*", "layers.?.output"),
    ),
    "far": Checkpoint(
        "The released positions past YaRN's original length of 4096. All experts run for every token, so no "
        "rounding changes a choice: also the one for ports in bfloat16 or int8.",
        Config(
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            num_local_experts=4,
            num_experts_per_tok=4,
            vocab_size=72,
            **SMALL,
        ),
        length=4300,
        forms=("huggingface", "original", "dense", "gguf"),
    ),
    "other-numbers": Checkpoint(
        "Other numbers than the released ones: limit, epsilon, window, order of layers, YaRN's original length. It "
        "tells whether a port reads its config, and has every array of the trace.",
        Config(
            num_hidden_layers=3,
            hidden_size=128,
            intermediate_size=96,
            num_attention_heads=6,
            num_key_value_heads=2,
            head_dim=32,
            num_local_experts=5,
            num_experts_per_tok=2,
            vocab_size=101,
            sliding_window=8,
            layer_types=(FULL, SLIDING, SLIDING),
            rms_norm_eps=1e-3,
            swiglu_limit=2.5,
            rope=RopeConfig(original_max_position_embeddings=16),
        ),
        length=48,
        forms=("huggingface", "dense"),
        golden=("*",),
    ),
    "edge-scales": Checkpoint(
        "MXFP4 scale bytes 0, 1 and 2 in a third of the experts' first map, and inputs as large as these are small: "
        "numbers below 2^-126 count as much as any. Nothing in it fits float16.",
        Config(
            num_hidden_layers=2,
            num_attention_heads=6,
            num_key_value_heads=2,
            num_local_experts=8,
            num_experts_per_tok=2,
            vocab_size=72,
            **SMALL,
        ),
        length=150,
        forms=("huggingface", "original"),
        has_edge_scales=True,
    ),
}


def draw(checkpoint: Checkpoint, tensor: layouts.Tensor, layout: str) -> Iterator[NDArray]:
    """The bytes of a tensor, in order, in chunks: uint8 for MXFP4, uint16 for bfloat16."""
    chunks = synthetic.draw(tensor, checkpoint.config, layout, SEED)
    if checkpoint.has_edge_scales and tensor.part in ("experts_norm", "router.weight", "gate_up.scales"):
        return iter([at_the_edge(tensor.part, np.concatenate(list(chunks)).reshape(tensor.shape))])
    return chunks


def at_the_edge(part: str, values: NDArray) -> NDArray:
    """The last 32 numbers that experts see are huge and their weights tiny; the router does not look at them."""
    values = values.copy()
    match part:
        case "experts_norm":
            values[-BLOCK:] += EDGE
        case "router.weight":
            values[:, -BLOCK:] = 0
        case "gate_up.scales":
            values[..., -1] %= 3
    return values
