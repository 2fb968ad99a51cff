"""MXFP4: all 256 bytes under all 256 scales, and rounding to it."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minioss import kernels, mxfp4
from minioss.errors import InputError
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


# Quantising


@st.composite
def blocks(draw):
    """Rows of blocks from several distributions, from the smallest to the largest numbers of float32."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["standard_normal", "random", "standard_cauchy"]))
    values = getattr(random, kind)((draw(st.integers(1, 3)), 32 * draw(st.integers(1, 3))))
    values *= random.random(values.shape) < draw(st.sampled_from([1.0, 0.5, 0.05]))
    with np.errstate(over="ignore"):
        scaled = np.ldexp(values, draw(st.integers(-160, 120))).astype(np.float32)
    return np.clip(scaled, -(2.0**127), 2.0**127)


def specified_scales(values):
    """The scale bytes of section 6.3: the largest number's exponent less that of the largest code, 2."""
    largest = np.abs(values.reshape(-1, 32)).max(axis=-1).astype(np.float64)
    with np.errstate(divide="ignore"):
        return np.clip(np.floor(np.log2(largest)) - 2 + 127, 0, 254).astype(int)


def nearest(values, scales):
    """The nearest numbers by given scales, found by trying all: of two, the one with the even nibble."""
    scaled = values.reshape(-1, 32).astype(np.float64) * np.ldexp(1.0, 127 - scales)[:, None]
    even_first = [0, 2, 4, 6, 1, 3, 5, 7]
    magnitudes = np.array(mxfp4.POSITIVE_CODES)[even_first]
    chosen = magnitudes[np.abs(np.abs(scaled)[..., None] - magnitudes).argmin(axis=-1)]
    return np.copysign(chosen, scaled) * np.ldexp(1.0, scales - 127)[:, None]


@given(blocks())
def test_each_block_has_the_better_of_two_scales_and_the_nearest_codes(values):
    packed = mxfp4.quantize(values)
    assert packed.shape == values.shape
    specified, scales = specified_scales(values), packed.scales.ravel().astype(int)
    found = packed.decode(np.float64).reshape(-1, 32)
    is_zero = ~found.any(axis=-1)
    assert ((scales == specified) | (scales == specified + 1) | is_zero).all()
    assert np.array_equal(found, nearest(values, scales))
    errors = [
        np.square(nearest(values, tried) - values.reshape(-1, 32)).sum(axis=-1) for tried in (specified, specified + 1)
    ]
    allowed = np.minimum(*errors) * (1 + 1e-5)
    assert (np.square(found - values.reshape(-1, 32)).sum(axis=-1) <= allowed).all()


@given(blocks())
def test_no_number_is_off_by_more_than_a_quarter_of_its_blocks_largest(values):
    error = np.abs(mxfp4.rounded(values).astype(np.float64) - values).reshape(-1, 32)
    largest = np.abs(values.reshape(-1, 32)).max(axis=-1, keepdims=True)
    assert (error <= np.maximum(largest / 4, 2.0**-128)).all()


@given(blocks())
def test_what_is_quantised_stays_as_it_is(values):
    once = mxfp4.quantize(values).decode()
    assert np.array_equal(once, mxfp4.rounded(values))
    assert np.array_equal(mxfp4.quantize(once).decode(), once)


def test_every_code_under_every_scale_is_kept(random):
    packed, scales = every_pair()
    exact = mxfp4.decode(packed[:253], scales[:253])
    assert np.array_equal(mxfp4.quantize(exact).decode(), exact)


def test_ties_go_to_the_even_nibble():
    middles = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0]
    row = np.array([*middles, *(-middle for middle in middles), 6, *[0] * 17], np.float32)
    expected = [0, 1, 1, 2, 2, 4, 4]
    assert mxfp4.rounded(row)[:14].tolist() == [*expected, *(-code for code in expected)]


@given(blocks())
def test_with_the_specified_scale_it_is_what_gguf_gives(values):
    gguf = pytest.importorskip("gguf")
    packed = mxfp4.quantize(values)
    with np.errstate(over="ignore"):
        plain = gguf.quants.quantize(values, gguf.GGMLQuantizationType.MXFP4)
    theirs = gguf.quants.dequantize(plain, gguf.GGMLQuantizationType.MXFP4).reshape(-1, 32)
    same_scale = packed.scales.ravel() == plain.reshape(-1, 17)[:, 0]
    ours = packed.decode().reshape(-1, 32)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.abs(values.reshape(-1, 32)) * np.ldexp(1.0, 127 - packed.scales.ravel().astype(int))[:, None]
    tie = np.isin(scaled, [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0])  # there gguf takes the smaller
    assert np.array_equal(ours[same_scale][~tie[same_scale]], theirs[same_scale][~tie[same_scale]])


def test_the_better_scale_is_worth_having(random):
    """Numbers just below a power of two are cut by a quarter if the specification's scale is all that is tried."""
    values = random.uniform(-1, 1, (100, 32)).astype(np.float32)
    plain = nearest(values, specified_scales(values))
    assert np.square(mxfp4.rounded(values) - values).sum() < 0.6 * np.square(plain - values).sum()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad):
    values = np.zeros((2, 64), np.float32)
    values[1, 40] = bad
    for function in (mxfp4.quantize, mxfp4.rounded):
        with pytest.raises(InputError, match=rf"\(1, 40\) is {bad}"):
            function(values)


def test_other_shapes_and_types_are_refused():
    with pytest.raises(InputError, match=r"\(2, 33\).*multiple of 32"):
        mxfp4.quantize(np.zeros((2, 33), np.float32))
    with pytest.raises(TypeError, match="float64"):
        mxfp4.quantize(np.zeros((2, 32)))
