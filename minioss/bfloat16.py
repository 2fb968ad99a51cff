"""bfloat16: the upper half of a float32.

    sign 1 bit | exponent 8 bits | fraction 7 bits

NumPy has no such type, so the 16 bits are kept as uint16. Every bfloat16 value is a
float32 value: decoding appends 16 zero bits and is exact. Encoding rounds to the nearest
bfloat16, ties to even.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


@dataclass(frozen=True)
class BFloat16Array:
    """An array of bfloat16 numbers, of any shape, as it lies in the checkpoint.

    Indexing gives another one (a view where NumPy's would be); `decode` gives numbers.
    """

    bits: NDArray[np.uint16]

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the numbers."""
        return self.bits.shape

    @property
    def nbytes(self) -> int:
        """Two a number."""
        return self.bits.nbytes

    def __getitem__(self, index: Any) -> "BFloat16Array":
        return BFloat16Array(self.bits[index])

    def swapaxes(self, first: int, second: int) -> "BFloat16Array":
        """The same numbers with two axes exchanged; nothing is copied."""
        return BFloat16Array(self.bits.swapaxes(first, second))

    def decode(self, dtype: DTypeLike = np.float32) -> NDArray[np.floating]:
        """The numbers, exactly, as float32 or float64."""
        return decode(self.bits, dtype)


def decode(bits: NDArray[np.uint16], dtype: DTypeLike = np.float32) -> NDArray[np.floating]:
    """Turn bfloat16 bits into numbers of the same shape, exactly.

    Parameters
    ----------
    bits : uint16, any shape
    dtype : float32 or float64

    Examples
    --------
    >>> decode(np.array([0x3F80, 0xC040], np.uint16))
    array([ 1., -3.], dtype=float32)
    """
    values = np.left_shift(bits, 16, dtype=np.uint32).view(np.float32)
    if dtype == np.float32:  # small arrays are decoded for every token
        return values
    with np.errstate(invalid="ignore"):  # a NaN stays one, without a warning
        return values.astype(dtype)


def encode(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round float32 numbers to bfloat16 bits of the same shape: to nearest, ties to even.

    Numbers beyond the largest bfloat16 become infinity; NaN stays NaN.

    Raises
    ------
    TypeError
        Where ``values`` is not float32 (from float64 the rounding would happen twice).

    Examples
    --------
    >>> [hex(bits) for bits in encode(np.array([1.0, -3.0], np.float32)).tolist()]
    ['0x3f80', '0xc040']
    """
    if values.dtype != np.float32:
        raise TypeError(f"values are {values.dtype}; expected float32")
    bits = values.view(np.uint32)
    last_kept_bit = (bits >> 16) & 1
    rounded = ((bits + (0x7FFF + last_kept_bit)) >> 16).astype(np.uint16)
    quiet_nan = ((bits >> 16) | 0x40).astype(np.uint16)
    return np.where(np.isnan(values), quiet_nan, rounded)
