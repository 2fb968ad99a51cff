"""Synthetic checkpoints: random weights in the official format, at any size.

The values are uniform random numbers, scaled so that activations stay near unit size, some
hit the SwiGLU's clamp, and the router has preferences but no favourite. They are made from
the raw bits of PCG64, which NumPy promises never to change, one stream a weight: the same
seed gives the same numbers on every machine, in either layout, quantised or not.

Everything is streamed: a chunk is drawn, written and dropped.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from minioss import bfloat16, mxfp4
from minioss.checkpoint import config_json, layouts, safetensors, shards, tokenizer_json
from minioss.checkpoint.config_json import HUGGINGFACE, ORIGINAL
from minioss.checkpoint.whole import whole
from minioss.config import Config
from minioss.errors import InputError

BYTES_PER_SHARD = 5 * 10**9
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
    out = Path(out)
    tensors = _planned(config, layout, dense, seed)
    small_files = _small_files(config, layout, dense, tokenizer)
    with whole(out, "folder", sum(map(_nbytes, tensors))) as partial:
        partial.mkdir()
        _write_shards(partial, _sharded(tensors), config, layout, seed, progress)
        for name, content in small_files.items():
            (partial / name).write_bytes(content)


def _planned(config: Config, layout: str, dense: bool, seed: int) -> list[layouts.Tensor]:
    if layout not in (HUGGINGFACE, ORIGINAL):
        raise InputError(f"layout is {layout!r}; expected {HUGGINGFACE!r} or {ORIGINAL!r}")
    if config.hidden_size % mxfp4.BLOCK or config.intermediate_size % mxfp4.BLOCK:
        raise InputError(
            f"hidden_size is {config.hidden_size} and intermediate_size {config.intermediate_size}; "
            f"expected multiples of {mxfp4.BLOCK}, the numbers in an MXFP4 block"
        )
    if not 0 <= seed < 2**63:
        raise InputError(f"seed is {seed}; expected 0 to 2^63 - 1")
    return list(layouts.tensors(config, layout, mxfp4=not dense))


def _small_files(config: Config, layout: str, dense: bool, tokenizer: str | Path | None) -> dict[str, bytes]:
    """config.json, generation_config.json and tokenizer.json, by name."""
    files: dict[str, bytes] = {}
    special = {}
    if config.vocab_size == tokenizer_json.OFFICIAL_VOCABULARY:
        special = {
            name: tokenizer_json.OFFICIAL_FIRST_SPECIAL + n for name, n in tokenizer_json.HARMONY_OFFSETS.items()
        }
    if tokenizer is not None:
        vocabulary = tokenizer_json.read(Path(tokenizer))
        largest = max(*vocabulary.ranks.values(), *vocabulary.special.values())
        if largest >= config.vocab_size:
            raise InputError(f"{tokenizer} has token {largest}; expected ids below vocab_size = {config.vocab_size}")
        special = vocabulary.special
        files[tokenizer_json.FILENAME] = Path(tokenizer).read_bytes()
    elif 256 + tokenizer_json.SPECIAL_COUNT <= config.vocab_size != tokenizer_json.OFFICIAL_VOCABULARY:
        vocabulary = tokenizer_json.byte_vocabulary()
        special = vocabulary.special
        files[tokenizer_json.FILENAME] = _json_bytes(tokenizer_json.to_json(vocabulary))
    stops = [special[name] for name in tokenizer_json.STOPS if name in special]
    ends = {"bos_token_id": special.get(tokenizer_json.BEGINNING), "pad_token_id": special.get(tokenizer_json.PADDING)}
    if layout == ORIGINAL:
        return files | {"config.json": _json_bytes(config_json.to_original(config))}
    files["config.json"] = _json_bytes(
        config_json.to_huggingface(config, not dense, ends | {"eos_token_id": stops[:1]})
    )
    files["generation_config.json"] = _json_bytes(ends | {"do_sample": True, "eos_token_id": stops})
    return files


def _json_bytes(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def _sharded(tensors: list[layouts.Tensor]) -> list[list[layouts.Tensor]]:
    groups: list[list[layouts.Tensor]] = [[]]
    size = 0
    for tensor in tensors:
        if groups[-1] and size + _nbytes(tensor) > BYTES_PER_SHARD:
            groups.append([])
            size = 0
        groups[-1].append(tensor)
        size += _nbytes(tensor)
    return groups


def _nbytes(tensor: layouts.Tensor) -> int:
    return math.prod(tensor.shape) * safetensors.DTYPES[_dtype(tensor)].itemsize


def _dtype(tensor: layouts.Tensor) -> str:
    return "U8" if tensor.is_bytes else "BF16"


def _write_shards(
    folder: Path,
    groups: list[list[layouts.Tensor]],
    config: Config,
    layout: str,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    total = sum(_nbytes(tensor) for group in groups for tensor in group)
    written = 0

    def counted(chunks: Iterable[NDArray]) -> Iterator[NDArray]:
        nonlocal written
        for chunk in chunks:
            yield chunk
            written += chunk.nbytes
            if progress:
                progress(written, total)

    file_of = {}
    for number, group in enumerate(groups, 1):
        filename = f"model-{number:05}-of-{len(groups):05}.safetensors" if len(groups) > 1 else "model.safetensors"
        file_of |= {tensor.name: filename for tensor in group}
        described = {tensor.name: (_dtype(tensor), tensor.shape) for tensor in group}
        chunks = chain.from_iterable(draw(tensor, config, layout, seed) for tensor in group)
        with open(folder / filename, "wb") as file:
            safetensors.write(file, described, counted(chunks))
    if layout == HUGGINGFACE and len(groups) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": file_of}
        (folder / shards.INDEX).write_bytes(_json_bytes(index))


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
        words = self._generator.random_raw(-(-count // 8)).astype("<u8", copy=False)
        return words.view(np.uint8)[:count]

    def chunks(self, count: int) -> Iterator[NDArray[np.uint8]]:
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
