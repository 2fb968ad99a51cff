"""bfloat16: decoding is exact, encoding rounds to nearest even."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minioss import bfloat16
from minioss.bfloat16 import BFloat16Array

EVERY = np.arange(2**16, dtype=np.uint16)


def test_every_value_survives_the_round_trip():
    values = bfloat16.decode(EVERY)
    again = bfloat16.encode(values)
    number = ~np.isnan(values)
    assert np.array_equal(again[number], EVERY[number])
    assert np.isnan(bfloat16.decode(again[~number])).all()


@pytest.mark.parametrize("bits", [0x0000, 0x8000, 0x3F80, 0x7F80, 0xFF80, 0x0001, 0x7F7F, 0xC2F7])
def test_values_by_the_definition(bits):
    sign, exponent, fraction = bits >> 15, bits >> 7 & 255, bits & 127
    expected = np.inf if exponent == 255 else (fraction / 128 + (exponent > 0)) * 2.0 ** (max(exponent, 1) - 127)
    decoded = bfloat16.decode(np.array([bits], np.uint16), np.float64)[0]
    assert decoded == (-1) ** sign * expected and np.signbit(decoded) == sign


@given(hnp.arrays(np.float32, 50, elements=st.floats(width=32, allow_nan=False)))
def test_encoding_takes_the_nearest_and_of_two_the_even(values):
    bits = bfloat16.encode(values)
    finite = np.abs(values) < 3e38
    below, above = (bfloat16.decode(bits + step, np.float64) for step in (np.uint16(0xFFFF), np.uint16(1)))
    here = bfloat16.decode(bits, np.float64)
    with np.errstate(invalid="ignore"):
        error = np.abs(here - values)
    for neighbour in (below, above):
        other = np.abs(neighbour - values)
        ok = (error < other) | ((error == other) & (bits % 2 == 0)) | ~np.isfinite(neighbour)
        assert ok[finite].all()


def test_agrees_with_ml_dtypes(random):
    values = random.integers(0, 2**32, 10**5, dtype=np.uint32).view(np.float32)
    with np.errstate(invalid="ignore"):
        theirs = values.astype(ml_dtypes.bfloat16).astype(np.float32)
    assert np.array_equal(bfloat16.decode(bfloat16.encode(values)), theirs, equal_nan=True)


def test_float64_is_refused():
    with pytest.raises(TypeError, match="float64; expected float32"):
        bfloat16.encode(np.zeros(3))


def test_an_array_is_indexed_as_its_numbers_are(random):
    array = BFloat16Array(random.integers(0, 2**14, (3, 4, 5), dtype=np.uint16))
    assert np.array_equal(array[1:, 2].decode(), array.decode()[1:, 2])
    assert np.array_equal(array.swapaxes(0, 2).decode(), array.decode().swapaxes(0, 2))
    assert array.shape == (3, 4, 5) and array.nbytes == 120
