"""For tests of the kernels: the levels, weights of every packed format, and how far a sum may be off."""

import importlib
import os

import numpy as np
import pytest
from hypothesis import strategies as st

from minioss import kernels, linear
from minioss.bfloat16 import BFloat16Array
from minioss.mxfp4 import MXFP4Array
from minioss.mxint8 import MXINT8Array

needs_core = pytest.mark.skipif(
    bool(kernels.MISSING) and os.environ.get("MINIOSS_REQUIRE_CORE") != "1",
    reason=f"the extension is not built: {kernels.MISSING}",
)

LEVELS = importlib.import_module("minioss._core").available() if not kernels.MISSING else ["none"]
seeds = st.integers(0, 2**32).map(np.random.default_rng)
threads = st.integers(1, 5)


def at_odd_address(array):
    """A read-only copy that starts at an odd address, as a tensor in a file may."""
    raw = np.empty(array.nbytes + 1, np.uint8)
    raw[1:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    raw.flags.writeable = False
    return raw[1:].view(array.dtype).reshape(array.shape)


def random_bytes(random, *shape, low=0, high=256):
    return at_odd_address(random.integers(low, high, shape, dtype=np.uint8))


def mxfp4_weight(random, *shape, scales=(110, 135)):
    *rows, length = shape
    low, high = scales
    return MXFP4Array(
        random_bytes(random, *rows, length // 32, 16), random_bytes(random, *rows, length // 32, low=low, high=high)
    )


def mxint8_weight(random, *shape, scales=(110, 135)):
    *rows, length = shape
    low, high = scales
    return MXINT8Array(
        random_bytes(random, *rows, length // 32, 32).view(np.int8),
        random_bytes(random, *rows, length // 32, low=low, high=high),
    )


def bfloat16_weight(random, *shape):
    """Ordinary sizes: from 2^-15 to 2."""
    bits = random.integers(0, 2**16, shape) & 0x87FF | 0x3800
    return BFloat16Array(at_odd_address(bits.astype(np.uint16)))


PACKED = [mxfp4_weight, mxint8_weight, bfloat16_weight]
# For `weight_of`: rows, blocks and tail.
shapes = st.integers(1, 70), st.integers(1, 11), st.integers(0, 31)


def weight_of(make, random, N, blocks, tail):
    """(N, 32 blocks), or less by the tail where the format has no blocks of its own."""
    return make(random, N, 32 * blocks - (tail if make is bfloat16_weight else 0))


def hold_bound(y, x, weight, level=None):
    """Every sum within the rounding that its length allows; NaN and infinity where the twin has them.

    The tiles of AMX take what is below 2^-126 as zero: a bfloat16 weight, a part of x, or one of three products.
    """
    whole, sizes = linear.decode(weight, np.float64), np.abs(x).astype(np.float64)
    D = whole.shape[1]
    with np.errstate(invalid="ignore", over="ignore"):
        exact = x.astype(np.float64) @ whole.T
        allowed = (D + 8) * 2.0**-24 * (sizes @ np.abs(whole).T) + 1e-37
        if level == "amx":
            allowed += 2.0**-126 * (3 * D + np.abs(whole).sum(axis=1))
            if isinstance(weight, BFloat16Array):
                allowed += 2.0**-126 * sizes.sum(axis=1, keepdims=True)
    finite = np.isfinite(exact)
    assert np.array_equal(np.isnan(y), np.isnan(exact))
    assert (np.abs(y - exact)[finite] <= allowed[finite]).all()
