"""MXFP4: four bits a number, and one scale for every 32 of them.

    value = code[nibble] * 2^(scale - 127)

A *block* is 32 neighbours of a row: 16 bytes of nibbles and one scale byte, so 4.25 bits
a number. In each byte the **low** nibble comes first. A nibble is an E2M1 float: one sign
bit, two exponent bits, one fraction bit, which makes the 16 numbers in `CODES`. The scale
is an E8M0 float: a bare exponent. Its byte 255 is NaN.

Decoding is exact in float64 for every byte, and in float32 for scale bytes below 253;
above that the largest codes are infinite in float32.

Quantising takes for each block the scale of the specification, by which its largest number lies
in [4, 8) and is cut to 6, or the next one, by which nothing is cut and all is coarser: the one with
the smaller squared error. Numbers go to the nearest code, ties to the even nibble.

Source: OCP Microscaling Formats (MX) Specification 1.0, sections 5.3, 5.4 and 6.3;
gpt_oss/torch/weights.py, ``Checkpoint._get_mxfp4_tensor``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minioss import kernels
from minioss.errors import InputError

BLOCK = 32
BYTES_PER_BLOCK = BLOCK // 2
NAN_SCALE = 255
LARGEST_SCALE = 252  # the last by which every code is a float32 number
# Blocks are quantised in pieces that stay in the processor's cache.
BLOCKS_PER_PIECE = 2**10

POSITIVE_CODES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
CODES = np.array([*POSITIVE_CODES, *(-code for code in POSITIVE_CODES)])
NIBBLE_OF_TWICE = np.searchsorted(POSITIVE_CODES, np.arange(13) / 2).astype(np.uint8)


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
        """That of the numbers."""
        *leading, blocks = self.scales.shape
        return (*leading, BLOCK * blocks)

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers and of their scales."""
        return self.blocks.nbytes + self.scales.nbytes

    def __getitem__(self, index: Any) -> "MXFP4Array":
        return MXFP4Array(self.blocks[index], self.scales[index])

    def decode(self, dtype: DTypeLike = np.float32) -> NDArray[np.floating]:
        """The numbers, as float32 or float64."""
        return decode(self.blocks, self.scales, dtype)


@kernels.twin
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


def quantize(values: NDArray[np.float32]) -> MXFP4Array:
    """Round numbers to MXFP4.

    Parameters
    ----------
    values : float32, (..., 32 B). Beyond 6 * 2^125 they become that.

    Raises
    ------
    InputError
        Where the last axis is no multiple of 32, or a number is NaN or infinite.
    TypeError
        Where ``values`` is not float32.

    Examples
    --------
    >>> packed = quantize(np.array([[0.3, -5.0, 7.0] + 29 * [0]], np.float32))
    >>> packed.decode()[0, :3], packed.scales
    (array([ 0.5, -4. ,  6. ], dtype=float32), array([[127]], dtype=uint8))
    """
    codes_N32, scale_N = _codes_and_scales(values)
    nibbles = NIBBLE_OF_TWICE[np.abs(2 * codes_N32).astype(np.uint8)] | np.signbit(codes_N32).astype(np.uint8) << 3
    *leading, width = values.shape
    blocks = (nibbles[:, 0::2] | nibbles[:, 1::2] << 4).reshape(*leading, width // BLOCK, BYTES_PER_BLOCK)
    return MXFP4Array(blocks, scale_N.reshape(*leading, width // BLOCK))


def rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The numbers that ``quantize(values)`` stands for, without packing them."""
    codes_N32, scale_N = _codes_and_scales(values)
    codes_N32 *= TABLES[np.dtype(np.float32)][1][scale_N, None]
    return codes_N32.reshape(values.shape)


def _codes_and_scales(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The code of each number, as a number, by blocks (N, 32), and the scale byte of each block (N,)."""
    if values.dtype != np.float32:
        raise TypeError(f"values are {values.dtype}; expected float32")
    if values.shape[-1] % BLOCK:
        raise InputError(f"values of shape {values.shape} are to become MXFP4; expected rows of a multiple of {BLOCK}")
    if not np.isfinite(values).all():
        place = tuple(np.argwhere(~np.isfinite(values))[0].tolist())
        raise InputError(f"the value at {place} is {values[place]}; MXFP4 has finite numbers only")
    blocks_N32 = values.reshape(-1, BLOCK)
    codes_N32, scale_N = np.empty_like(blocks_N32), np.empty(len(blocks_N32), np.uint8)
    for first in range(0, len(blocks_N32), BLOCKS_PER_PIECE):
        piece = slice(first, first + BLOCKS_PER_PIECE)
        codes_N32[piece], scale_N[piece] = _better(blocks_N32[piece])
    return codes_N32, scale_N


def _better(blocks_N32: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Codes by the specification's scale, or by the next one where that is nearer, and the scale bytes."""
    _, exponent_N = np.frexp(np.abs(blocks_N32).max(axis=-1))
    scale_N = np.clip(exponent_N - 3 + 127, 0, LARGEST_SCALE)
    next_N = np.minimum(scale_N + 1, LARGEST_SCALE)
    codes_N32, error_N = _nearest(blocks_N32, scale_N)
    next_codes_N32, next_error_N = _nearest(blocks_N32, next_N)
    is_next_N = np.ldexp(next_error_N, 2 * (next_N - scale_N)) < error_N
    codes_N32[is_next_N] = next_codes_N32[is_next_N]
    return codes_N32, np.where(is_next_N, next_N, scale_N)


def _nearest(
    blocks_N32: NDArray[np.float32], scale_N: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The nearest code of each number by a given scale, and the squared error of each block in units of that scale."""
    scaled_N32 = blocks_N32 * np.ldexp(np.float32(1), 127 - scale_N)[:, None]
    codes_N32 = np.clip(scaled_N32, -POSITIVE_CODES[-1], POSITIVE_CODES[-1])
    # The codes from a power of two on, and those below 1, are multiples of half that power: the last bit
    # that float32 keeps beside 1.5 * 2^22 such powers, and so the sum rounds as wanted.
    power_N32 = (np.maximum(np.abs(codes_N32), 1).view(np.uint32) & 0x7F800000).view(np.float32)
    power_N32 *= 1.5 * 2**22
    codes_N32 += power_N32
    codes_N32 -= power_N32
    scaled_N32 -= codes_N32
    return codes_N32, np.vecdot(scaled_N32, scaled_N32)
