"""The safetensors file: a header in JSON, then the tensors' bytes, end to end.

    8 bytes    n, the header's length, little-endian
    n bytes    {"name": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}, …}
    the rest   the data; offsets count from its start

The file is mapped, not read: opening takes less than a millisecond, and a tensor is a view
whose pages come in when they are touched. The safetensors package would copy each tensor,
and knows no bfloat16 in NumPy. What it refuses is refused here too: the tensors must cover
the data exactly, with no gap and no overlap, so that every byte of the file has one owner.
"""

import contextlib
import json
import math
import mmap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minioss.bfloat16 import BFloat16Array
from minioss.errors import InputError

DTYPES: dict[str, np.dtype] = {
    "BF16": np.dtype("<u2"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"),
    "U8": np.dtype("u1"),
}
HEADER_LIMIT = 100_000_000


class Entry(NamedTuple):
    """What the header says of one tensor; offsets count from the start of the data."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class SafetensorsFile:
    """One mapped file: ``entries`` by name, and their arrays on demand.

    Raises
    ------
    InputError
        Where the file is not a whole and consistent safetensors file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        size = path.stat().st_size
        if size < 8:
            raise InputError(f"{path} has {size} bytes; a safetensors file starts with an 8-byte header length")
        content = _mapped(path)
        length = int.from_bytes(content[:8].tobytes(), "little")
        if length > min(size - 8, HEADER_LIMIT):
            raise InputError(
                f"{path} says that its header has {length} bytes; "
                f"expected at most {min(size - 8, HEADER_LIMIT)}: the file is truncated or not safetensors"
            )
        self._data = content[8 + length :]
        self.entries = _entries(path, content[8 : 8 + length].tobytes(), len(self._data))

    def tensor(self, name: str) -> NDArray | BFloat16Array:
        """A read-only view of one tensor.

        Raises
        ------
        InputError
            Where its type is none of `DTYPES`.
        """
        entry = self.entries[name]
        if entry.dtype not in DTYPES:
            raise InputError(f"{name} in {self.path} has type {entry.dtype}; expected one of {', '.join(DTYPES)}")
        array = self._data[entry.start : entry.stop].view(DTYPES[entry.dtype])
        array = array.reshape(entry.shape)
        return BFloat16Array(array) if entry.dtype == "BF16" else array


def _mapped(path: Path) -> NDArray[np.uint8]:
    """The bytes of a file, mapped read-only."""
    with open(path, "rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        # Where the system can, 2 MiB pages: fewer look-ups of addresses when all weights are read for each token.
        with contextlib.suppress(OSError):
            mapping.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(mapping, np.uint8)


def _entries(path: Path, header: bytes, data_size: int) -> dict[str, Entry]:
    try:
        content = json.loads(header, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the header of {path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"the header of {path} is {type(content).__name__}; expected an object")
    metadata = content.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise InputError(f"__metadata__ in {path} is {str(metadata)[:200]}; expected an object of strings")
    entries = {name: _entry(path, name, fields) for name, fields in content.items()}
    _check_cover(path, entries, data_size)
    return entries


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a name stands twice in it")
    return content


def _entry(path: Path, name: str, fields: Any) -> Entry:
    match fields:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(start), int(stop)]} if all(
            type(number) is int for number in (*shape, start, stop)
        ):
            entry = Entry(dtype, tuple(shape), start, stop)
        case _:
            found = repr(fields)[:200]
            raise InputError(f"{name} in {path} is {found}; expected dtype, shape and data_offsets")
    if not 0 <= start <= stop:
        raise InputError(f"{name} in {path} has data_offsets {[start, stop]}; expected 0 <= start <= end")
    if any(number <= 0 for number in shape) or len(shape) > 8:
        raise InputError(f"{name} in {path} has shape {str(shape)[:200]}; expected up to 8 positive numbers")
    if dtype in DTYPES and math.prod(shape) * DTYPES[dtype].itemsize != stop - start:
        expected = math.prod(shape) * DTYPES[dtype].itemsize
        raise InputError(
            f"{name} in {path} is {dtype} of shape {tuple(shape)}, "
            f"which takes {expected} bytes; its data_offsets {[start, stop]} hold {stop - start}"
        )
    return entry


def _check_cover(path: Path, entries: Mapping[str, Entry], data_size: int) -> None:
    """Refuse gaps, overlaps, and offsets beyond the end of the file."""
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].stop)):
        if entry.stop > data_size:
            raise InputError(
                f"{name} in {path} ends at byte {entry.stop} of the data, which has {data_size}: the file is truncated"
            )
        if entry.start != end:
            fault = "overlaps the tensor before it" if entry.start < end else "leaves a gap before it"
            raise InputError(f"{name} in {path} starts at byte {entry.start} and {fault}, which ends at {end}")
        end = entry.stop
    if end != data_size:
        raise InputError(f"{path} has {data_size} bytes of data, of which its tensors cover {end}")


def header(tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> bytes:
    """The first bytes of a file that holds these tensors, (dtype, shape) by name, in this order."""
    content: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, (dtype, shape) in tensors.items():
        stop = start + math.prod(shape) * DTYPES[dtype].itemsize
        content[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(content, separators=(",", ":")).encode()
    # Spaces up to a multiple of 8, so that every tensor lies aligned.
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def write(file: BinaryIO, tensors: Mapping[str, tuple[str, tuple[int, ...]]], chunks: Iterable[NDArray]) -> None:
    """Write a whole file from chunks of its data, in order, so that no tensor is ever whole in memory."""
    file.write(header(tensors))
    for chunk in chunks:
        file.write(np.ascontiguousarray(chunk).data)
