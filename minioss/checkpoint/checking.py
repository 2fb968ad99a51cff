"""Reading every number of a checkpoint, to find those that are none."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from minioss.bfloat16 import BFloat16Array
from minioss.checkpoint.layouts import Tensor
from minioss.checkpoint.loading import Checkpoint
from minioss.linear import decode
from minioss.mxfp4 import NAN_SCALE

VALUES_PER_CHUNK = 2**24


def find_not_finite(checkpoint: Checkpoint, progress: Callable[[int, int], None] | None = None) -> Iterator[str]:
    """One line for each tensor that holds NaN or infinity: how many, and where the first one is.

    Scales of MXFP4 hold NaN in byte 255; their blocks hold none.
    """
    tensors = [tensor for tensor in checkpoint.tensors.values() if not tensor.part.endswith(".blocks")]
    for done, tensor in enumerate(tensors, 1):
        yield from _faults(checkpoint, tensor)
        if progress:
            progress(done, len(tensors))


def _faults(checkpoint: Checkpoint, tensor: Tensor) -> Iterator[str]:
    values = checkpoint.shards.tensor(tensor.name)
    bad = _bad_positions(values, tensor.is_bytes)
    if bad.size:
        axes = [name.strip() for name in tensor.axes.split(",")]
        place = ", ".join(f"{axis} {index}" for axis, index in zip(axes, np.unravel_index(bad[0], tensor.shape)))
        kind = "NaN scales (byte 255)" if tensor.is_bytes else "values that are NaN or infinite"
        yield f"{tensor.name} has {bad.size} {kind}, the first at {place}"


def _bad_positions(values: NDArray | BFloat16Array, is_scale: bool) -> NDArray[np.intp]:
    flat = BFloat16Array(values.bits.reshape(-1)) if isinstance(values, BFloat16Array) else values.reshape(-1)
    found = []
    for first in range(0, flat.shape[0], VALUES_PER_CHUNK):
        chunk = flat[first : first + VALUES_PER_CHUNK]
        bad = chunk == NAN_SCALE if is_scale else ~np.isfinite(decode(chunk, np.float32))
        found.append(np.flatnonzero(bad) + first)
    return np.concatenate(found)
