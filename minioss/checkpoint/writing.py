"""Writing a model folder in an official layout, from whoever has the numbers.

Everything is streamed: a chunk is asked for, written and dropped.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from minioss import mxfp4
from minioss.checkpoint import config_json, layouts, safetensors, shards, tokenizer_json
from minioss.checkpoint.config_json import HUGGINGFACE, ORIGINAL
from minioss.checkpoint.whole import whole
from minioss.config import Config
from minioss.errors import InputError

BYTES_PER_SHARD = 5 * 10**9


def write_folder(
    out: str | Path,
    config: Config,
    chunks_of: Callable[[layouts.Tensor], Iterable[NDArray]],
    *,
    layout: str = HUGGINGFACE,
    dense: bool = False,
    tokenizer: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a folder with weights, config and tokenizer. It appears whole or not at all.

    Parameters
    ----------
    out : the folder to make; it must not exist
    config : the model's shape
    chunks_of : gives the bytes of a tensor, in order, in chunks: uint8 for MXFP4, uint16 for bfloat16
    layout : "huggingface" or "original"
    dense : write the experts as bfloat16 instead of MXFP4
    tokenizer : a tokenizer.json to copy. Without one a small vocabulary gets the 256 bytes and the
        harmony specials
    progress : called with (bytes written, bytes in all)

    Raises
    ------
    InputError
        Where the folder exists, the disk is too small, or the layout cannot hold the model.
    """
    out = Path(out)
    tensors = _planned(config, layout, dense)
    small_files = _small_files(config, layout, dense, tokenizer)
    with whole(out, "folder", sum(map(_nbytes, tensors))) as partial:
        partial.mkdir()
        _write_shards(partial, _sharded(tensors), layout, chunks_of, progress)
        for name, content in small_files.items():
            (partial / name).write_bytes(content)


def _planned(config: Config, layout: str, dense: bool) -> list[layouts.Tensor]:
    if layout not in (HUGGINGFACE, ORIGINAL):
        raise InputError(f"layout is {layout!r}; expected {HUGGINGFACE!r} or {ORIGINAL!r}")
    if config.hidden_size % mxfp4.BLOCK or config.intermediate_size % mxfp4.BLOCK:
        raise InputError(
            f"hidden_size is {config.hidden_size} and intermediate_size {config.intermediate_size}; "
            f"expected multiples of {mxfp4.BLOCK}, the numbers in an MXFP4 block"
        )
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
    layout: str,
    chunks_of: Callable[[layouts.Tensor], Iterable[NDArray]],
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
        chunks = chain.from_iterable(chunks_of(tensor) for tensor in group)
        with open(folder / filename, "wb") as file:
            safetensors.write(file, described, counted(chunks))
    if layout == HUGGINGFACE and len(groups) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": file_of}
        (folder / shards.INDEX).write_bytes(_json_bytes(index))
