"""MXINT8: what rounding to it keeps, in NumPy and in the kernel."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minioss
from minioss import bfloat16, kernels, mxint8
from minioss.bfloat16 import BFloat16Array
from minioss.mxint8 import BLOCK, LARGEST, NAN_SCALE, MXINT8Array, quantize, quantize_rows
from tests.twins import at_odd_address, bfloat16_weight, mxint8_weight, needs_core, seeds, threads

# Of every size that float32 has, subnormal numbers and zeros of both signs included.
numbers = hnp.arrays(np.float32, (2, 2 * BLOCK), elements=st.floats(width=32, allow_nan=False, allow_infinity=False))


def every_number():
    """Every integer under every scale: (256, 8, 32)."""
    integers = np.broadcast_to(np.arange(-128, 128).astype(np.int8).reshape(8, 32), (256, 8, 32))
    return MXINT8Array(integers, np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None], (256, 8)))


def any_bits(random, N, blocks):
    """bfloat16 of every kind, NaN and infinity included, some blocks all small or zero."""
    bits = random.integers(0, 2**16, (N, blocks, BLOCK), dtype=np.uint16)
    kept = random.choice(np.array([0xFFFF, 0xBFFF, 0x83FF, 0x807F, 0x8000], np.uint16), (N, blocks, 1))
    return (bits & kept).reshape(N, -1)


def test_every_integer_under_every_scale():
    values = every_number().decode(np.float64)
    assert np.isnan(values[NAN_SCALE]).all()
    for scale in range(NAN_SCALE):
        assert values[scale].tolist() == [integer * 2.0 ** (scale - 127) for integer in range(-128, 128)]


def test_every_number_is_one_of_bfloat16():
    """Scales above 247 are left out: -128 times 2^121 is too large for any of the types."""
    values = every_number()[:248].decode()
    assert np.array_equal(bfloat16.decode(bfloat16.encode(values)), values)
    assert np.array_equal(values, every_number()[:248].decode(np.float64))


@given(numbers)
def test_numbers_move_by_half_a_step_at_most_or_are_cut_by_less_than_one(values):
    rounded = quantize(values)
    steps = np.ldexp(1.0, rounded.scales.astype(int) - 127)[..., None]
    blocks = values.reshape(2, 2, BLOCK).astype(np.float64)
    moved = np.abs(rounded.decode(np.float64).reshape(blocks.shape) - blocks)
    cut = np.abs(blocks) > LARGEST * steps
    assert (np.abs(rounded.integers.astype(int)) <= LARGEST).all()
    assert (moved[~cut] <= np.broadcast_to(steps / 2, cut.shape)[~cut]).all()
    assert (moved[cut] < np.broadcast_to(steps, cut.shape)[cut]).all()


@given(numbers)
def test_the_step_is_the_power_of_two_that_brings_the_largest_to_64_or_more(values):
    scales = quantize(values).scales
    for block, scale in zip(np.abs(values).reshape(-1, BLOCK), scales.reshape(-1).tolist(), strict=True):
        largest = float(block.max())
        # No scale is below 2^-127: there, and at zero, the largest may stay small.
        expected = max(math.floor(math.log2(largest)) - 6 + 127, 0) if largest else 0
        assert scale == expected


@given(numbers)
def test_rounding_twice_is_rounding_once(values):
    once = quantize(values)
    twice = quantize(once.decode())
    assert np.array_equal(twice.decode(np.float64), once.decode(np.float64))


@pytest.mark.parametrize(
    ("largest", "expected"), [(127.49, 127), (127.51, 127), (127.99, 127), (64.5, 64), (63.9, 63.5)]
)
def test_around_the_largest_integer(largest, expected):
    row = quantize(np.array([[largest, -largest, *[0.0] * 30]], np.float32))
    assert row.decode()[0, :2].tolist() == [expected, -expected]


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
def test_a_block_that_holds_no_number_is_nan_and_no_other(bad, random):
    values = random.standard_normal((3, 96)).astype(np.float32)
    values[1, 40] = bad
    nan = np.isnan(quantize(values).decode()).reshape(3, 3, BLOCK)
    assert np.argwhere(nan.any(axis=-1)).tolist() == [[1, 1]] and nan[1, 1].all()


def test_an_array_is_indexed_as_its_numbers_are(random):
    array = mxint8_weight(random, 3, 4, 64)
    assert array.shape == (3, 4, 64) and array.nbytes == 3 * 4 * 2 * 33
    assert np.array_equal(array[1].decode(), array.decode()[1])
    assert np.array_equal(array[:, 1:3].decode(np.float64), array.decode(np.float64)[:, 1:3])


@given(seeds, st.integers(1, 20), st.integers(1, 3), st.integers(1, 500))
def test_pieces_bound_the_memory_and_change_nothing(random, N, blocks, piece):
    weight = BFloat16Array(any_bits(random, N, blocks))
    sizes, rounded = [], mxint8._rounded
    whole = quantize(weight)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mxint8, "VALUES_PER_PIECE", piece)
        patch.setattr(mxint8, "_rounded", lambda values: sizes.append(values.size) or rounded(values))
        in_pieces = quantize(weight)
    assert max(sizes) <= max(piece, BLOCK * blocks) and sum(sizes) == N * BLOCK * blocks
    assert np.array_equal(in_pieces.integers, whole.integers) and np.array_equal(in_pieces.scales, whole.scales)


@given(seeds)
def test_every_type_of_weight_is_rounded_alike(random):
    halves = random.standard_normal((4, 64)).astype(np.float16)
    weight = bfloat16_weight(random, 4, 64)
    for one, other in [
        (halves, halves.astype(np.float64)),
        (weight, weight.decode()),
        (weight, weight.decode(np.float64)),
    ]:
        assert np.array_equal(quantize(one).integers, quantize(other).integers)
        assert np.array_equal(quantize(one).scales, quantize(other).scales)


@needs_core
@settings(max_examples=200)
@given(seeds, st.integers(1, 20), st.integers(1, 5), st.booleans(), threads)
def test_the_kernel_rounds_as_numpy_does(core, random, N, blocks, turned, count):
    bits = at_odd_address(any_bits(random, N, blocks))
    weight = BFloat16Array(at_odd_address(bits.T)).swapaxes(0, 1) if turned else BFloat16Array(bits)
    for given_by_kernel, given_by_numpy in zip(
        core.quantize_rows(weight, threads=count), quantize_rows(weight), strict=True
    ):
        assert given_by_kernel.dtype == given_by_numpy.dtype
        assert np.array_equal(given_by_kernel, given_by_numpy)


@needs_core
def test_what_the_kernel_leaves_to_numpy(core, random):
    bits = bfloat16_weight(random, 3, 64).bits
    for wrong in [
        bits[:, :40],
        bits[:0],
        bits[:, :0],
        bits[0],
        bits[None],
        bits.astype(np.int16),
        bits.astype(np.uint8),
    ]:
        assert core.quantize_rows(BFloat16Array(wrong), threads=2) is NotImplemented
    assert core.quantize_rows(bits.astype(np.float32), threads=2) is NotImplemented


@pytest.mark.parametrize("bindings", [{}, kernels.CYTHON], ids=["numpy", "cython"])
def test_rows_of_other_lengths_are_refused(bindings):
    with (
        kernels.using(bindings),
        pytest.raises(minioss.InputError, match=r"\(3, 48\) is to become int8; expected rows of a multiple of 32"),
    ):
        quantize(BFloat16Array(np.zeros((3, 48), np.uint16)))
