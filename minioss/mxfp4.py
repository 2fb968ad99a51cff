"""MXFP4: four bits a number, and one scale for every 32 of them.

    value = code[nibble] * 2^(scale - 127)

A *block* is 32 neighbours of a row: 16 bytes of nibbles and one scale byte, so 4.25 bits
a number. In each byte the **low** nibble comes first. A nibble is an E2M1 float: one sign
bit, two exponent bits, one fraction bit, which makes the 16 numbers in `CODES`. The scale
is an E8M0 float: a bare exponent. Its byte 255 is NaN.

Decoding is exact in float64 for every byte, and in float32 for scale bytes below 253;
above that the largest codes are infinite in float32.

Source: OCP Microscaling Formats (MX) Specification 1.0, sections 5.3 and 5.4;
gpt_oss/torch/weights.py, ``Checkpoint._get_mxfp4_tensor``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

BLOCK = 32
BYTES_PER_BLOCK = BLOCK // 2
NAN_SCALE = 255

POSITIVE_CODES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
CODES = np.array([*POSITIVE_CODES, *(-code for code in POSITIVE_CODES)])


@dataclass(frozen=True)
class MXFP4Array:
    """An array of MXFP4 numbers, as it lies in the checkpoint.

    Its shape is that of the numbers: the last axis holds 32 per block. Indexing works on
    the axes before the last and gives another packed array; `decode` gives numbers.

    Parameters
    ----------
    blocks : uint8, (..., B, 16)
    scales : uint8, (..., B)
    """

    blocks: NDArray[np.uint8]
    scales: NDArray[np.uint8]

    @property
    def shape(self) -> tuple[int, ...]:
        *leading, blocks = self.scales.shape
        return (*leading, BLOCK * blocks)

    @property
    def nbytes(self) -> int:
        return self.blocks.nbytes + self.scales.nbytes

    def __getitem__(self, index: Any) -> "MXFP4Array":
        return MXFP4Array(self.blocks[index], self.scales[index])

    def decode(self, dtype: DTypeLike = np.float32) -> NDArray[np.floating]:
        """The numbers, as float32 or float64."""
        return decode(self.blocks, self.scales, dtype)


def decode(blocks: NDArray[np.uint8], scales: NDArray[np.uint8], dtype: DTypeLike = np.float32) -> NDArray[np.floating]:
    """Turn packed blocks into numbers.

    Parameters
    ----------
    blocks : uint8, (..., B, 16)
    scales : uint8, (..., B)
    dtype : float32 or float64

    Returns
    -------
    (..., 32 B) of ``dtype``

    Examples
    --------
    >>> blocks = np.full((1, 16), 0x72, np.uint8)  # low nibble 2 is 1.0, high nibble 7 is 6.0
    >>> decode(blocks, np.array([128], np.uint8))[:4]
    array([ 2., 12.,  2., 12.], dtype=float32)
    """
    pair_of_byte, value_of_scale = TABLES[np.dtype(dtype)]
    # One look-up a byte: a pair of numbers travels as one complex number.
    values = np.take(pair_of_byte, blocks).view(dtype)
    with np.errstate(over="ignore"):
        values *= value_of_scale[scales][..., None]
    return values.reshape(*scales.shape[:-1], BLOCK * scales.shape[-1])


def _tables(dtype: DTypeLike, pair_dtype: DTypeLike) -> tuple[NDArray, NDArray]:
    byte = np.arange(256)
    low_then_high = np.stack([CODES[byte & 15], CODES[byte >> 4]], axis=-1).astype(dtype)
    value_of_scale = np.ldexp(1.0, byte - 127)
    value_of_scale[NAN_SCALE] = np.nan
    return low_then_high.view(pair_dtype)[:, 0], value_of_scale.astype(dtype)


TABLES = {
    np.dtype(np.float32): _tables(np.float32, np.complex64),
    np.dtype(np.float64): _tables(np.float64, np.complex128),
}
