"""Synthetic checkpoints: random weights in the official format, at any size.

The values are uniform random numbers, scaled so that activations stay near unit size, some
hit the SwiGLU's clamp, and the router has preferences but no favourite. They are made from
the raw bits of PCG64, which NumPy promises never to change, one stream a weight: the same
seed gives the same numbers on every machine, in either layout, quantised or not.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from minioss import bfloat16, mxfp4
from minioss.checkpoint import layouts
from minioss.checkpoint.config_json import HUGGINGFACE
from minioss.checkpoint.writing import write_folder
from minioss.config import Config
from minioss.errors import InputError

VALUES_PER_CHUNK = 2**22

# Root mean square of a uniform E2M1 code times the three exponents drawn around the middle one.
CODE_RMS = math.sqrt(np.mean(mxfp4.CODES**2) * (1 / 4 + 1 + 4) / 3)


class Spread(NamedTuple):
    """A weight's mean and standard deviation."""

    mean: float
    deviation: float


def synthesize(
    out: str | Path,
    config: Config,
    *,
    layout: str = HUGGINGFACE,
    dense: bool = False,
    seed: int = 0,
    tokenizer: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a folder with random weights. It appears whole or not at all.

    Parameters
    ----------
    out : the folder to make; it must not exist
    config : the model's shape
    layout : "huggingface" or "original"
    dense : write the experts as bfloat16, with the very values that MXFP4 would have
    seed : which random weights
    tokenizer : a tokenizer.json to copy. Without one a small vocabulary gets the 256 bytes and the
        harmony specials
    progress : called with (bytes written, bytes in all)

    Raises
    ------
    InputError
        Where the folder exists, the disk is too small, or the layout cannot hold the model.
    """
    if not 0 <= seed < 2**63:
        raise InputError(f"seed is {seed}; expected 0 to 2^63 - 1")

    def chunks_of(tensor: layouts.Tensor) -> Iterator[NDArray]:
        return draw(tensor, config, layout, seed)

    write_folder(out, config, chunks_of, layout=layout, dense=dense, tokenizer=tokenizer, progress=progress)


def draw(tensor: layouts.Tensor, config: Config, layout: str, seed: int) -> Iterator[NDArray]:
    """The bytes of a tensor, in order, in chunks: uint8 for MXFP4, uint16 for bfloat16."""
    part, layer = tensor.part, tensor.layer
    if part in layouts.DENSE:
        yield from _dense_experts(part, layer, config, layout, seed)
    elif part.endswith(".blocks"):
        yield from Bits(seed, part, layer).chunks(math.prod(tensor.shape))
    elif part.endswith(".scales"):
        for raw in Bits(seed, part, layer).chunks(math.prod(tensor.shape)):
            yield _scales(raw, part, config)
    elif part.startswith("query_key_value."):
        kind = part.partition(".")[2]
        for name in ("query", "key", "value"):
            axes = "query_rows" if name == "query" else "key_rows"
            rows = layouts.shape(config, axes)
            yield from _bfloat16(f"{name}.{kind}", layer, (*rows, *tensor.shape[1:]), config, seed)
    else:
        yield from _bfloat16(part, layer, tensor.shape, config, seed)


class Bits:
    """An endless stream of random bytes, one for each weight of each seed."""

    def __init__(self, seed: int, part: str, layer: int | None) -> None:
        stream = np.random.SeedSequence([seed, crc32(f"{part} {layer}".encode())])
        self._generator = np.random.PCG64(stream)

    def take(self, count: int) -> NDArray[np.uint8]:
        """The next ``count`` bytes; what is left of the last 8 is thrown away."""
        words = self._generator.random_raw(-(-count // 8)).astype("<u8", copy=False)
        return words.view(np.uint8)[:count]

    def chunks(self, count: int) -> Iterator[NDArray[np.uint8]]:
        """``count`` bytes in pieces that fit into memory."""
        for first in range(0, count, VALUES_PER_CHUNK):
            yield self.take(min(VALUES_PER_CHUNK, count - first))


def _bfloat16(
    part: str, layer: int | None, shape: tuple[int, ...], config: Config, seed: int
) -> Iterator[NDArray[np.uint16]]:
    spread = _spread(part, config)
    # A uniform number of standard deviation 1 lies within ± sqrt(3).
    unit = np.float32(spread.deviation * math.sqrt(3) / 2**15)
    for raw in Bits(seed, part, layer).chunks(2 * math.prod(shape)):
        yield bfloat16.encode(raw.view("<i2").astype(np.float32) * unit + np.float32(spread.mean))


def _dense_experts(part: str, layer: int | None, config: Config, layout: str, seed: int) -> Iterator[NDArray]:
    axes = {"gate_up": "gate_up_rows, hidden_blocks", "down": "hidden_size, intermediate_blocks"}[part]
    rows, blocks = layouts.shape(config, axes)
    block_bits, scale_bits = (Bits(seed, f"{part}.{kind}", layer) for kind in ("blocks", "scales"))
    for _ in range(config.num_local_experts):
        nibbles = block_bits.take(rows * blocks * 16).reshape(rows, blocks, 16)
        scales = _scales(scale_bits.take(rows * blocks), f"{part}.scales", config).reshape(rows, blocks)
        values = bfloat16.encode(mxfp4.decode(nibbles, scales))
        yield values.T if layout == HUGGINGFACE else values


def _scales(raw: NDArray[np.uint8], part: str, config: Config) -> NDArray[np.uint8]:
    """Three neighbouring exponents, so that the numbers have about the wanted deviation."""
    middle = 127 + round(math.log2(_spread(part, config).deviation / CODE_RMS))
    return (raw % 3 + (middle - 1)).astype(np.uint8)


def _spread(part: str, config: Config) -> Spread:
    """Inputs of a product have unit size after a norm; a weight's deviation is what its output should have."""
    per_hidden = 1 / math.sqrt(config.hidden_size)
    per_head = 1 / math.sqrt(config.num_attention_heads * config.head_dim)
    per_intermediate = 1 / math.sqrt(config.intermediate_size)
    return {
        "embedding": Spread(0, 1),
        "attention_norm": Spread(1, 0.2),
        "query.weight": Spread(0, 1.5 * per_hidden),
        "query.bias": Spread(0, 0.5),
        "key.weight": Spread(0, 1.5 * per_hidden),
        "key.bias": Spread(0, 0.5),
        "value.weight": Spread(0, per_hidden),
        "value.bias": Spread(0, 0.2),
        "output.weight": Spread(0, per_head),
        "output.bias": Spread(0, 0.2),
        "sinks": Spread(0, 2),
        "experts_norm": Spread(1, 0.2),
        "router.weight": Spread(0, per_hidden),
        "router.bias": Spread(0, 0.5),
        "gate_up.scales": Spread(0, 2.5 * per_hidden),  # about 1 in 200 beyond the clamp at 7
        "gate_up_bias": Spread(0, 0.5),
        "down.scales": Spread(0, 0.3 * per_intermediate),
        "down_bias": Spread(0, 0.2),
        "norm": Spread(1, 0.2),
        "unembedding": Spread(0, 2 * per_hidden),
    }[part]
