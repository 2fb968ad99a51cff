"""MXFP4: all 256 bytes under all 256 scales."""

from fractions import Fraction

import numpy as np
import pytest

from minioss import kernels, mxfp4
from minioss.mxfp4 import MXFP4Array

ALL_BYTES = np.arange(256, dtype=np.uint8).reshape(16, 16)


def every_pair():
    """Every byte under every scale: blocks (256, 16, 16), scales (256, 16)."""
    blocks = np.broadcast_to(ALL_BYTES, (256, 16, 16))
    scales = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None], (256, 16))
    return blocks, scales


def e2m1(nibble: int) -> Fraction:
    """The number behind four bits, by the definition: sign, exponent of bias 1, one fraction bit."""
    sign, exponent, fraction = nibble >> 3, nibble >> 1 & 3, Fraction(nibble & 1, 2)
    magnitude = fraction if exponent == 0 else (1 + fraction) * 2 ** (exponent - 1)
    return -magnitude if sign else magnitude


def test_every_byte_and_scale_in_float64():
    values = mxfp4.decode(*every_pair(), np.float64).reshape(256, 256, 2)
    assert np.isnan(values[255]).all()
    for scale in range(255):
        expected = [
            [e2m1(byte & 15) * Fraction(2) ** (scale - 127), e2m1(byte >> 4) * Fraction(2) ** (scale - 127)]
            for byte in range(256)
        ]
        assert [list(map(Fraction, pair)) for pair in values[scale].tolist()] == expected


def test_minus_zero_keeps_its_sign():
    assert np.signbit(mxfp4.decode(np.full((1, 16), 0x80, np.uint8), np.array([127], np.uint8)))[1::2].all()


@pytest.mark.parametrize("bindings", [{}, kernels.CYTHON], ids=["numpy", "cython"])
def test_float32_is_exact_below_scale_253_and_overflows_above(bindings):
    exact = mxfp4.decode(*every_pair(), np.float64)
    with kernels.using(bindings):
        rounded = mxfp4.decode(*every_pair(), np.float32)
    assert np.array_equal(rounded[:253], exact[:253])
    with np.errstate(over="ignore"):
        assert np.array_equal(rounded, exact.astype(np.float32), equal_nan=True)


def test_indexing_goes_through_rows_and_experts(random):
    packed = MXFP4Array(
        random.integers(0, 256, (3, 4, 2, 16), dtype=np.uint8), random.integers(100, 140, (3, 4, 2), dtype=np.uint8)
    )
    assert packed.shape == (3, 4, 64) and packed.nbytes == 3 * 4 * 2 * 17
    assert np.array_equal(packed[1].decode(), packed.decode()[1])
    assert np.array_equal(packed[:, 1:3].decode(np.float64), packed.decode(np.float64)[:, 1:3])
