"""Random models for tests: shapes that break the real model's coincidences, and fair comparisons."""

import math
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
from hypothesis import strategies as st

import minioss
from minioss import router, transformer
from minioss.checkpoint.safetensors import DTYPES, header
from minioss.checkpoint.shards import Shards
from minioss.config import FULL, SLIDING
from minioss.linear import linear
from minioss.router import top_k

MARGIN = 1e-5
LARGEST_SHARE_LEFT_OUT = 0.02


def small_config(**changes) -> minioss.Config:
    """A small shape: hidden is not intermediate, kv heads are not queries per kv head."""
    shape = {
        "num_hidden_layers": 3,
        "hidden_size": 96,
        "intermediate_size": 64,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
        "vocab_size": 101,
        "sliding_window": 8,
        "rope": minioss.RopeConfig(original_max_position_embeddings=64),
    }
    return minioss.Config(**(shape | changes))


@st.composite
def configs(draw, largest_window=24):
    """Shapes of every kind that the architecture allows, small."""
    experts = draw(st.sampled_from([4, 5, 8, 32]))
    layers = draw(st.integers(1, 4))
    kv_heads, groups = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    return small_config(
        num_hidden_layers=layers,
        hidden_size=draw(st.sampled_from([32, 64, 96])),
        intermediate_size=draw(st.sampled_from([32, 64, 128])),
        num_attention_heads=kv_heads * groups,
        num_key_value_heads=kv_heads,
        head_dim=draw(st.sampled_from([16, 32, 64])),
        num_local_experts=experts,
        num_experts_per_tok=draw(st.integers(1, 4)),
        sliding_window=draw(st.integers(1, largest_window)),
        layer_types=tuple(draw(st.lists(st.sampled_from([SLIDING, FULL]), min_size=layers, max_size=layers))),
        swiglu_limit=draw(st.sampled_from([7.0, 1.5, 3.25])),
        swiglu_alpha=draw(st.sampled_from([1.702, 1.0])),
        rms_norm_eps=draw(st.sampled_from([1e-5, 1e-2])),
        rope=draw(ropes()),
    )


@st.composite
def ropes(draw):
    """Plain RoPE, and YaRN with either rounding, with original lengths down to a few tokens."""
    return minioss.RopeConfig(
        rope_type=draw(st.sampled_from(["yarn", "yarn", "default"])),
        rope_theta=draw(st.sampled_from([150000.0, 10000.0, 500.0])),
        factor=draw(st.sampled_from([1.0, 2.0, 32.0])),
        truncate=draw(st.booleans()),
        original_max_position_embeddings=draw(st.sampled_from([4, 16, 64, 4096])),
    )


def synthesize(folder: Path, config: minioss.Config, **options) -> Path:
    """A new folder beside those made before it in ``folder``."""
    out = folder / f"model-{len(list(folder.iterdir()))}"
    minioss.synthesize(out, config, **options)
    return out


def change_bytes(folder: Path, name: str, change) -> None:
    """Let ``change`` alter, in place, a tensor of a folder on disk: it gets the raw array."""
    entry = Shards(folder).entry(name)
    path = folder / "model.safetensors"
    header = int.from_bytes(path.read_bytes()[:8], "little")
    dtype = {"U8": np.uint8, "BF16": np.uint16}[entry.dtype]
    array = np.memmap(path, dtype, "r+", 8 + header + entry.start, entry.shape)
    change(array)
    array.flush()


def edge_scales(folder: Path) -> None:
    """Give every MXFP4 tensor of a folder scales at the edges: 0 and 1 anywhere, 252 over zeros and minus zeros."""
    shards = Shards(folder)
    for name in shards.names:
        if name.endswith(("_scales", ".scales")):
            change_bytes(folder, name, _edge_rows)
            change_bytes(folder, name.removesuffix("scales") + "blocks", _zero_rows)


def _edge_rows(scales):
    scales[:, 0::5] = 0
    scales[:, 1::5] = 1
    scales[:, 2::5] = 252


def _zero_rows(blocks):
    blocks[:, 2::10], blocks[:, 7::10] = 0x00, 0x88


def write_sparse(file, tensors, chunks):
    """Stands in for the writer of safetensors: a file of the full size that holds nothing but its header."""
    start = header(tensors)
    file.write(start)
    sizes = (math.prod(shape) * DTYPES[dtype].itemsize for dtype, shape in tensors.values())
    file.truncate(len(start) + sum(sizes))


def nmse(other, reference) -> float:
    """Squared error over the squared size of the reference."""
    return float(np.sum(np.square(other - reference), dtype=np.float64) / np.sum(np.square(reference)))


@contextmanager
def recorded_margins():
    """Collect, call by call, how far the last chosen expert's logit is above the first that was not: a list of (T,)."""
    margins = []
    route = transformer.route

    def recording(x_TD, weights, count):
        ordered = np.sort(linear(x_TD, weights), axis=-1)
        spare = ordered.shape[-1] > count
        margins.append(ordered[:, -count] - ordered[:, -count - 1] if spare else np.full(len(x_TD), np.inf))
        return route(x_TD, weights, count)

    transformer.route = recording
    try:
        yield margins
    finally:
        transformer.route = route


@contextmanager
def recorded_choices():
    """Collect the router's choices, call by call: a list of (T, A)."""
    choices = []
    with mock.patch.object(router, "top_k", lambda *given: choices.append(top_k(*given)) or choices[-1]):
        yield choices


@contextmanager
def held_choices(choices):
    """Let the router choose as it did before, whatever its logits; how much each expert counts is still theirs to say."""
    again = iter(choices)
    with mock.patch.object(router, "top_k", lambda *_: next(again)):
        yield


class Comparison:
    """Compares logits, leaving out (and counting) what follows a near-tie of the router in its prompt."""

    def __init__(self):
        self.tokens = self.left_out = 0

    def fair(self, reference: minioss.Model, ids) -> tuple[np.ndarray, slice]:
        """The reference logits, and the tokens before the first near-tie."""
        with recorded_margins() as margins:
            logits = reference(ids)
        # Pieces of a prompt come after one another, each through all layers.
        pieces = np.array_split(np.arange(len(margins)), len(margins) // reference.config.num_hidden_layers)
        margin_T = np.concatenate([np.min([margins[call] for call in piece], axis=0) for piece in pieces])
        near_ties = np.flatnonzero(margin_T < MARGIN)
        kept = near_ties[0] if near_ties.size else len(ids)
        self.tokens += len(ids)
        self.left_out += len(ids) - kept
        return logits, slice(0, kept)

    def check(self):
        assert self.left_out <= LARGEST_SHARE_LEFT_OUT * self.tokens, f"{self.left_out} of {self.tokens} left out"
