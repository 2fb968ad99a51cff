"""Trace files: the arrays of a trace as .npz or .safetensors, written whole and read with suspicion.

Any subset of the names will do beside ``tokens``. What is read is checked against the config: names,
shapes, types, ids within their range, no NaN. bfloat16 and float16 become float32, without loss.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minioss.bfloat16 import BFloat16Array
from minioss.checkpoint import safetensors
from minioss.checkpoint.safetensors import SafetensorsFile
from minioss.checkpoint.whole import whole
from minioss.config import Config
from minioss.errors import InputError
from minioss.verify.keys import Key, keys, shape

SUFFIXES = (".npz", ".safetensors")
SAFETENSORS_NAMES = {"<f8": "F64", "<f4": "F32", "<i8": "I64"}


def write_trace(out: str | Path, arrays: Mapping[str, NDArray]) -> None:
    """Write a trace. The file appears whole or not at all.

    Parameters
    ----------
    out : ends in .npz or .safetensors; it must not exist
    arrays : as `trace` gives them

    Raises
    ------
    InputError
        Where the ending is another, the file exists, or the disk is too small.
    """
    out = checked_suffix(Path(out))
    arrays = {name: values.astype("<i8") if values.dtype.kind in "iu" else values for name, values in arrays.items()}
    with whole(out, "file", sum(values.nbytes for values in arrays.values())) as partial, open(partial, "wb") as file:
        if out.suffix == ".npz":
            np.savez(file, **arrays)
        else:
            entries = {name: (SAFETENSORS_NAMES[values.dtype.str], values.shape) for name, values in arrays.items()}
            safetensors.write(file, entries, arrays.values())


def read_trace(path: str | Path, config: Config) -> dict[str, NDArray]:
    """Read a trace, ours or a port's, and check it against a model's config.

    Returns
    -------
    dict
        Arrays by name, in the order in which they are computed: int64, float32 or float64.

    Raises
    ------
    InputError
        That says which array is wrong and how.
    """
    path = checked_suffix(Path(path))
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    found = _npz_arrays(path) if path.suffix == ".npz" else _safetensors_arrays(path)
    return checked_trace(found, config, str(path))


def checked_trace(found: Mapping[str, NDArray], config: Config, path: str = "the trace") -> dict[str, NDArray]:
    """As `read_trace`, of arrays in memory; ``path`` is what messages call it."""
    known, found = keys(config), {name: np.asarray(values) for name, values in found.items()}
    for name in found:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else "docs/trace-format.md has all names"
            raise InputError(f"{path} holds {name}, which is no array of this model's trace; {hint}")
    if "tokens" not in found or len(found) < 2:
        raise InputError(f"{path} holds {', '.join(found) or 'nothing'}; expected tokens, and logits or other arrays")
    if found["tokens"].ndim != 1 or found["tokens"].size == 0:
        raise InputError(f"tokens in {path} has shape {found['tokens'].shape}; expected (T,), at least one")
    T = len(found["tokens"])
    return {name: _checked(path, name, key, found[name], config, T) for name, key in known.items() if name in found}


def checked_suffix(path: Path) -> Path:
    """The path of a trace, or an `InputError` where it has another ending."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"the trace {path} ends in {path.suffix!r}; expected {' or '.join(SUFFIXES)}")
    return path


def _npz_arrays(path: Path) -> dict[str, NDArray]:
    name = None
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {}
            for name in archive.files:
                found[name] = archive[name]
            return found
    except Exception as error:  # on damaged files zipfile and NumPy raise errors of a dozen kinds
        place = "" if name is None else f"{name} in "
        raise InputError(f"{place}{path} cannot be read: the file is truncated or no .npz ({error})") from None


def _safetensors_arrays(path: Path) -> dict[str, NDArray]:
    file = SafetensorsFile(path)
    found = {name: file.tensor(name) for name in file.entries}
    return {name: each.decode() if isinstance(each, BFloat16Array) else each for name, each in found.items()}


def _checked(path: str, name: str, key: Key, values: NDArray, config: Config, T: int) -> NDArray:
    expected = shape(key, config, T)
    if values.shape != expected:
        raise InputError(f"{name} in {path} has shape {values.shape}; expected ({key.axes}) = {expected}")
    if key.is_integer:
        return _checked_integers(path, name, values, config)
    if values.dtype.kind != "f" or values.dtype.itemsize not in (2, 4, 8):
        raise InputError(f"{name} in {path} is {values.dtype}; expected float16, bfloat16, float32 or float64")
    values = values.astype(np.float64 if values.dtype.itemsize == 8 else np.float32)
    allowed = np.isneginf(values) if name.endswith("attention.scores") else False
    for place in np.argwhere(~(np.isfinite(values) | allowed)):
        raise InputError(f"{name} in {path} is {values[tuple(place)]} at {place.tolist()}; expected finite numbers")
    return values


def _checked_integers(path: str, name: str, values: NDArray, config: Config) -> NDArray:
    if values.dtype.kind not in "iu":
        raise InputError(f"{name} in {path} is {values.dtype}; expected integers")
    count = config.vocab_size if name == "tokens" else config.num_local_experts
    for place in np.argwhere((values < 0) | (values >= count)):
        raise InputError(f"{name} in {path} is {values[tuple(place)]} at {place.tolist()}; expected 0 to {count - 1}")
    return values.astype(np.int64)
