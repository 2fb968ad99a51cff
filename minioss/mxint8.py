"""MXINT8: eight bits a number, and one scale for every 32 of them.

    value = integer * 2^(scale - 127)        integer from -127 to 127

The scale is a bare exponent, as in MXFP4. A block's scale is the one by which its largest number
becomes at least 64 and less than 128 (what would be rounded to 128 is cut to 127). So every
number is exactly a bfloat16 number, and one byte and a thirty-second stand for two.

No checkpoint comes in this format: ``load(..., dense="int8")`` rounds the attention's maps
and the unembedding to it once, which decoding then reads in half the time.

Source: OCP Microscaling Formats (MX) Specification 1.0, section 5.3.4; its factor of 2^-6 is
in the scale here.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minioss import kernels
from minioss.bfloat16 import BFloat16Array
from minioss.errors import InputError

BLOCK = 32
LARGEST = 127
NAN_SCALE = 255
# Rows are rounded in pieces of about 4 MB, so that memory stays bounded.
VALUES_PER_PIECE = 2**20


@dataclass(frozen=True)
class MXINT8Array:
    """An array of MXINT8 numbers. Its shape is that of the numbers: the last axis holds 32 per block.

    Parameters
    ----------
    integers : int8, (..., B, 32)
    scales : uint8, (..., B)
    """

    integers: NDArray[np.int8]
    scales: NDArray[np.uint8]

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the numbers."""
        *leading, blocks = self.scales.shape
        return (*leading, BLOCK * blocks)

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers and of their scales."""
        return self.integers.nbytes + self.scales.nbytes

    def __getitem__(self, index: Any) -> "MXINT8Array":
        return MXINT8Array(self.integers[index], self.scales[index])

    def decode(self, dtype: DTypeLike = np.float32) -> NDArray[np.floating]:
        """The numbers, exactly, as float32 or float64."""
        exponents = self.scales.astype(np.int32)[..., None] - 127
        values = np.ldexp(self.integers.astype(dtype), exponents).reshape(self.shape)
        values.reshape(self.integers.shape)[self.scales == NAN_SCALE] = np.nan
        return values


def quantize(weight_ND: NDArray | BFloat16Array) -> MXINT8Array:
    """Round the rows of a weight to MXINT8.

    Parameters
    ----------
    weight_ND : (N, D), D a multiple of 32; a block that holds NaN or infinity becomes NaN

    Raises
    ------
    InputError
        Where D is no multiple of 32.

    Examples
    --------
    >>> row = quantize(np.arange(32, dtype=np.float32)[None] / 4)
    >>> row.integers[0, 0, -3:], row.scales
    (array([116, 120, 124], dtype=int8), array([[123]], dtype=uint8))
    """
    if weight_ND.shape[1] % BLOCK:
        raise InputError(
            f"a weight of shape {weight_ND.shape} is to become int8; expected rows of a multiple of {BLOCK} numbers"
        )
    return MXINT8Array(*quantize_rows(weight_ND))


@kernels.twin
def quantize_rows(weight_ND: NDArray | BFloat16Array) -> tuple[NDArray[np.int8], NDArray[np.uint8]]:
    """As `quantize`: the integers, (N, B, 32), and the scales, (N, B)."""
    N, D = weight_ND.shape
    integers, scales = np.empty((N, D // BLOCK, BLOCK), np.int8), np.empty((N, D // BLOCK), np.uint8)
    step = max(1, VALUES_PER_PIECE // D)
    for first in range(0, N, step):
        rows = weight_ND[first : first + step]
        values = rows if isinstance(rows, np.ndarray) else rows.decode(np.float32)
        integers[first : first + step], scales[first : first + step] = _rounded(values.reshape(len(values), -1, BLOCK))
    return integers, scales


def _rounded(blocks: NDArray) -> tuple[NDArray[np.int8], NDArray[np.uint8]]:
    largest = np.abs(blocks).max(axis=-1)
    finite = np.isfinite(largest)
    # 2^(exponent - 1) <= largest < 2^exponent: in steps of 2^(exponent - 7) that is 64 to 128.
    exponent = np.where(finite, np.frexp(np.where(finite, largest, 0))[1], 0)
    scale = np.where(largest == 0, 0, np.maximum(exponent - 7 + 127, 0))
    steps = np.ldexp(np.where(finite[..., None], blocks, 0), (127 - scale)[..., None])
    integers = np.clip(np.rint(steps), -LARGEST, LARGEST).astype(np.int8)
    return integers, np.where(finite, scale, NAN_SCALE).astype(np.uint8)
