"""The precision ladder: what is rounded and what is not, alike in NumPy and in the kernels."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minioss
from minioss import experts, kernels, linear, precision, router
from minioss.experts import ExpertWeights
from minioss.linear import Linear
from minioss.mxint8 import MXINT8Array
from minioss.precision import ACTIVATIONS, BLOCK, bindings
from minioss.router import Routing
from tests.models import held_choices, nmse, recorded_choices, small_config, synthesize
from tests.twins import (
    LEVELS,
    PACKED,
    bfloat16_weight,
    hold_bound,
    mxfp4_weight,
    needs_core,
    seeds,
    shapes,
    threads,
    weight_of,
)

ROUNDED = [name for name in ACTIVATIONS if name != "float32"]
floats = hnp.arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 70)), elements=st.floats(width=32))
KERNELS = ["numpy", pytest.param("cython", marks=needs_core)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return synthesize(tmp_path_factory.mktemp("models"), small_config())


# Rounding


@given(floats)
def test_bfloat16_agrees_with_ml_dtypes(x):
    with np.errstate(invalid="ignore", over="ignore"):
        expected = x.astype(ml_dtypes.bfloat16).astype(np.float32)
    assert np.array_equal(precision.to_bfloat16(x), expected, equal_nan=True)


@given(hnp.arrays(np.float32, (2, 70), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_int8_by_the_definition(x):
    """Multiples k of a block's largest / 127, none of them further from its number than half of that and float32's own rounding."""
    rounded = precision.to_int8(x)
    for start in range(0, 70, BLOCK):
        for row, to in zip(
            x[:, start : start + BLOCK].tolist(), rounded[:, start : start + BLOCK].tolist(), strict=True
        ):
            largest = max(map(abs, row))
            if largest < 1e-30:
                assert not any(to)
                continue
            step = Fraction(largest) / 127
            for number, value in zip(row, to, strict=True):
                k = round(Fraction(value) / step)
                assert abs(k) <= 127 and abs(Fraction(value) - k * step) <= abs(k) * step / 2**22
                assert abs(k * step - Fraction(number)) <= step * (Fraction(1, 2) + Fraction(1, 2**15))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_int8_makes_a_block_nan_that_holds_no_number(bad, random):
    x = random.standard_normal((2, 70)).astype(np.float32)
    x[1, 40] = bad
    assert np.argwhere(np.isnan(precision.to_int8(x))).tolist() == [[1, column] for column in range(32, 64)]


def test_numbers_of_next_to_nothing_become_zero():
    x = np.array([[1e-31, -1e-40], [1e-29, -1e-40]], np.float32)
    assert precision.to_int8(x).tolist() == [[0, 0], [x[1, 0], 0]]


# Products


@needs_core
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("rung", ROUNDED)
@pytest.mark.parametrize("make", PACKED)
def test_products_round_as_numpy_does(core, level, rung, make):
    """One number that is rounded otherwise is off by its whole step, thousands of times the bound."""
    core.use(level)

    @settings(max_examples=40)
    @given(seeds, *shapes, st.integers(1, 70), threads)
    def bounded(random, N, blocks, tail, T, count):
        weight = weight_of(make, random, N, blocks, tail)
        x = random.standard_normal((T, weight.shape[1])).astype(np.float32)
        # Ties, and blocks of zeros and of next to nothing.
        x[:, ::3] = np.round(x[:, ::3] * 512) / 512
        x[:, :BLOCK] *= random.choice(np.array([0, 1e-31, 1], np.float32), (T, 1))
        hold_bound(core.matmul(x, weight, threads=count, activations=rung), ACTIVATIONS[rung](x), weight, level)

    bounded()


@needs_core
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("rung", ACTIVATIONS)
@pytest.mark.parametrize("T", [1, 4, 5, 40])
def test_what_is_no_number_reaches_its_token_and_no_other(core, level, rung, T, random):
    core.use(level)
    quiet_in_the_lower_half = np.array([0x7F800001], np.uint32).view(np.float32)[0]
    for bad in (np.nan, -np.nan, quiet_in_the_lower_half, np.inf, -np.inf):
        x = random.standard_normal((T, 96)).astype(np.float32)
        x[T // 2, 45] = bad
        for weight in (make(random, 40, 96) for make in PACKED):
            y = core.matmul(x, weight, threads=2, activations=rung)
            assert not np.isfinite(y[T // 2]).any() and np.isfinite(np.delete(y, T // 2, axis=0)).all()
            assert np.isinf(bad) or np.isnan(y[T // 2]).all()


@pytest.mark.parametrize("chosen", KERNELS)
@pytest.mark.parametrize("rung", ROUNDED)
def test_x_is_rounded_for_weights_of_every_type(chosen, rung, random):
    """Those that no kernel serves, plain arrays, included."""
    x = random.standard_normal((6, 96)).astype(np.float32)
    plain = random.standard_normal((5, 96)).astype(np.float32)
    with kernels.using(bindings(chosen, "float32", 2, rung)):
        for weight in (plain, plain.astype(np.float16), *(make(random, 5, 96) for make in PACKED)):
            hold_bound(linear.matmul(x, weight), ACTIVATIONS[rung](x), weight)
            hold_bound(linear.linear(x, Linear(weight, np.zeros(5, np.float32))), ACTIVATIONS[rung](x), weight)


# Experts


def small_experts(random, E=5, D=96, F=64):
    return ExpertWeights(
        mxfp4_weight(random, E, 2 * F, D, scales=(121, 124)),
        bfloat16_weight(random, E, 2 * F),
        mxfp4_weight(random, E, D, F, scales=(121, 124)),
        bfloat16_weight(random, E, D),
    )


def routing_of(random, T, E=5, A=2):
    chosen = np.array([random.permutation(E)[:A] for _ in range(T)])
    return Routing(chosen, random.random((T, A)).astype(np.float32))


@needs_core
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("rung", ROUNDED)
def test_experts_round_what_comes_in_and_the_activation(core, level, rung, random):
    """Up to float32's noise, which may put an activation on the other side of a tie, a step away: one in 10,000 or so.

    Without the rounding in the middle the error would be 2e-6 (bfloat16) or 8e-5 (int8).
    """
    core.use(level)
    squares = np.zeros(3)
    for count, T in enumerate([1, 2, 4, 5, 9, 33, 70] * 3):
        weights, routing = small_experts(random), routing_of(random, T)
        x = random.standard_normal((T, 96)).astype(np.float32)
        arguments = x, routing, weights, 1.702, 7.0
        y = core.mix_experts(*arguments, threads=1 + count % 5, activations=rung)
        with kernels.using(bindings("numpy", "float32", None, rung)):
            expected = experts.mix_experts(*arguments)
        without = experts.mix_experts(ACTIVATIONS[rung](x), *arguments[1:])
        squares += [np.sum(np.square(each, dtype=np.float64)) for each in (y - expected, without - expected, expected)]
    assert squares[0] < 1e-8 * squares[2] < 0.01 * squares[1]


# The router


@pytest.mark.parametrize("chosen", KERNELS)
def test_the_router_is_never_rounded(chosen, random):
    x = random.standard_normal((50, 96)).astype(np.float32)
    weights = Linear(bfloat16_weight(random, 32, 96), bfloat16_weight(random, 32))
    routings = []
    for rung in ACTIVATIONS:
        with kernels.using(bindings(chosen, "float32", 2, rung)):
            routings.append(router.route(x, weights, 4))
    for other in routings[1:]:
        assert np.array_equal(other.expert_TA, routings[0].expert_TA)
        assert np.array_equal(other.weight_TA, routings[0].weight_TA)
    rounded = router.route(precision.to_bfloat16(x), weights, 4)
    assert not np.array_equal(rounded.weight_TA, routings[0].weight_TA)


# Models


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activations": "int4"}, "activations is 'int4'; expected 'float32', 'bfloat16', 'int8'"),
        ({"activations": "int8", "dtype": "float64"}, "dtype is float64 and activations is 'int8'"),
        ({"activations": "bfloat16", "dtype": "float64", "kernels": "numpy"}, "dtype is float64 and activations is"),
        ({"cache": "int8"}, "cache is 'int8'; expected 'float32' or 'bfloat16'"),
        ({"cache": "bfloat16", "dtype": "float64"}, "cache is 'bfloat16' and dtype is float64"),
        ({"dense": "int4"}, "dense is 'int4'; expected 'bfloat16' or 'int8'"),
    ],
)
def test_what_does_not_go_together_is_refused(folder, options, message):
    with pytest.raises(minioss.InputError, match=message):
        minioss.load(folder, **options)


@pytest.mark.parametrize("chosen", KERNELS)
@pytest.mark.parametrize(
    ("options", "least", "most"),
    [
        ({}, 1e-15, 1e-11),
        ({"activations": "bfloat16"}, 1e-6, 1e-3),
        ({"activations": "int8"}, 1e-5, 1e-2),
        ({"dense": "int8"}, 1e-5, 1e-2),
        ({"cache": "bfloat16"}, 1e-6, 1e-3),
    ],
)
def test_every_option_reaches_the_model(folder, chosen, options, least, most):
    """Each rung has its own error against float64, as long as the router chooses alike."""
    ids, exact = np.random.default_rng(0).integers(101, size=40), minioss.load(folder, dtype="float64")
    with recorded_choices() as choices:
        reference = exact(ids)
    with held_choices(choices):
        error = nmse(minioss.load(folder, kernels=chosen, **options)(ids), reference)
    assert least < error < most


@needs_core
@pytest.mark.parametrize("layout", ["huggingface", "original"])
@pytest.mark.parametrize("dense", [False, True])
def test_int8_weights_are_the_same_with_the_kernels_and_without(tmp_path, layout, dense):
    out = synthesize(tmp_path, small_config(), layout=layout, dense=dense)
    one, other = (minioss.load(out, kernels=chosen, dense="int8") for chosen in ("numpy", "cython"))
    for first, second in zip(int8_weights(one.weights), int8_weights(other.weights), strict=True):
        assert np.array_equal(first.integers, second.integers) and np.array_equal(first.scales, second.scales)


def int8_weights(weights):
    """The attention's maps and the unembedding; nothing else is rounded."""
    found = [weights.unembedding]
    for layer in weights.layers:
        found += [getattr(layer.attention, name).weight for name in ("query", "key", "value", "output")]
        others = layer.router.weight, layer.experts.gate_up, layer.experts.down, layer.attention.query.bias
        assert not any(isinstance(other, MXINT8Array) for other in others)
    assert all(isinstance(weight, MXINT8Array) for weight in found)
    assert not isinstance(weights.embedding, MXINT8Array)
    return found


# The cache


@pytest.mark.parametrize("chosen", KERNELS)
def test_a_bfloat16_cache_gives_the_same_however_a_text_is_split(tmp_path, chosen, random):
    """Up to float32's noise; that seldom puts a key on the other side of a tie, which costs less than the storage itself.

    All experts are active, so that no choice of the router's cascades.
    """
    out = synthesize(tmp_path, small_config(num_local_experts=4, num_experts_per_tok=4))
    # One thread: each of many small steps would wait for the others where processors are busy.
    model, plain = (minioss.load(out, kernels=chosen, threads=1, cache=storage) for storage in ("bfloat16", "float32"))
    window = model.config.sliding_window
    splits = [[1] * count for count in (window - 1, window, window + 1, 3 * window)]
    splits += [random.integers(1, 30, random.integers(1, 6)).tolist() for _ in range(30)]
    differences, errors = [], []
    for sizes in splits:
        ids, cache = random.integers(101, size=sum(sizes)), model.new_cache()
        whole = model(ids)
        parts = [model(part, cache=cache) for part in np.split(ids, np.cumsum(sizes)[:-1])]
        differences.append(nmse(np.concatenate(parts), whole))
        errors.append(nmse(whole, plain(ids)))
    assert np.median(differences) < 1e-11
    assert max(differences) < min(errors) < max(errors) < 1e-3


@pytest.mark.parametrize("chosen", KERNELS)
def test_a_bfloat16_cache_goes_back(folder, chosen, random):
    model, ids = minioss.load(folder, kernels=chosen, cache="bfloat16"), random.integers(101, size=40)
    cache = model.new_cache()
    model(ids[:25], cache=cache)
    snapshot = cache.snapshot()
    first = model(ids[25:], cache=cache)
    cache.restore(snapshot)
    model(random.integers(101, size=30), cache=cache)
    cache.restore(snapshot)
    assert np.array_equal(model(ids[25:], cache=cache), first)


def test_caches_of_another_storage_are_refused(folder):
    with pytest.raises(minioss.InputError, match=r"the cache .* is of another model"):
        minioss.load(folder)([1], cache=minioss.load(folder, cache="bfloat16").new_cache())
