"""The seam, and the kernels against their NumPy twins: every instruction set, format, size and number of threads."""

import importlib
import os
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minioss
from minioss import experts, kernels, linear
from minioss.bfloat16 import BFloat16Array
from minioss.experts import ExpertWeights
from minioss.mxfp4 import MXFP4Array
from minioss.router import Routing
from tests.models import nmse, small_config, synthesize

needs_core = pytest.mark.skipif(
    bool(kernels.MISSING) and os.environ.get("MINIOSS_REQUIRE_CORE") != "1",
    reason=f"the extension is not built: {kernels.MISSING}",
)


@pytest.fixture(scope="module")
def core():
    return importlib.import_module("minioss._core")


@pytest.fixture(autouse=True)
def best_level():
    """A test that switches the instruction set leaves the best one behind."""
    yield
    if not kernels.MISSING:
        kernels.instruction_set()


LEVELS = importlib.import_module("minioss._core").available() if not kernels.MISSING else ["none"]
seeds = st.integers(0, 2**32).map(np.random.default_rng)
threads = st.integers(1, 5)


def unaligned(random, shape, low=0, high=256):
    """Read-only random bytes that start at an odd address, as a tensor in a file may."""
    raw = random.integers(low, high, int(np.prod(shape)) + 1, dtype=np.uint8)
    raw.flags.writeable = False
    return raw[1:].reshape(shape)


def mxfp4_weight(random, *shape, scales=(110, 135)):
    *rows, length = shape
    return MXFP4Array(unaligned(random, (*rows, length // 32, 16)), unaligned(random, (*rows, length // 32), *scales))


def bfloat16_weight(random, *shape):
    raw = unaligned(random, (*shape, 2))
    bits = raw.view(np.uint16)[..., 0]
    finite = np.where((bits & 0x7F80) == 0x7F80, bits & 0xBFFF, bits)
    # Ordinary sizes: exponents from 2^-15 to 2^16.
    return BFloat16Array((finite & 0x87FF | 0x3800).astype(np.uint16))


def hold_bound(y, x, weight):
    """Every sum within the rounding that its length allows; NaN and infinity where the twin has them."""
    whole = linear.decode(weight, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        exact = x.astype(np.float64) @ whole.T
        allowed = (whole.shape[1] + 8) * 2.0**-24 * (np.abs(x).astype(np.float64) @ np.abs(whole).T) + 1e-37
    finite = np.isfinite(exact)
    assert np.array_equal(np.isnan(y), np.isnan(exact))
    assert (np.abs(y - exact)[finite] <= allowed[finite]).all()


@needs_core
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("make", [mxfp4_weight, bfloat16_weight])
def test_products_are_within_the_rounding_bound(core, level, make):
    core.use(level)

    @settings(max_examples=120)
    @given(seeds, st.integers(1, 70), st.integers(1, 11), st.integers(0, 31), st.integers(1, 60), threads)
    def bounded(random, N, blocks, tail, T, count):
        D = 32 * blocks - (tail if make is bfloat16_weight else 0)
        x, weight = random.standard_normal((T, D)).astype(np.float32), make(random, N, D)
        hold_bound(core.matmul(x, weight, threads=count), x, weight)

    bounded()


@needs_core
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("T", [1, 3])
def test_every_scale_byte(core, level, T):
    """One row a scale, subnormal and NaN included; beyond 252 the NumPy twin overflows earlier."""
    core.use(level)
    random = np.random.default_rng(0)
    codes = random.integers(0, 256, (256, 5, 16), dtype=np.uint8)
    weight = MXFP4Array(codes, np.repeat(np.arange(256, dtype=np.uint8)[:, None], 5, axis=1))
    x = random.standard_normal((T, 160)).astype(np.float32) / 64
    y = core.matmul(x, weight, threads=2)
    hold_bound(y[:, :253], x, weight[:253])
    assert np.isnan(y[:, 255]).all()
    mixed = MXFP4Array(codes, unaligned(random, (256, 5)))
    mixed.scales.flags.writeable = False
    kept = (mixed.scales < 253).all(axis=1)
    hold_bound(core.matmul(x, mixed, threads=2)[:, kept], x, mixed[kept])


@needs_core
@pytest.mark.parametrize("level", LEVELS)
def test_results_do_not_depend_on_threads_or_runs(core, level):
    core.use(level)

    @settings(max_examples=20)
    @given(seeds, st.integers(1, 300), st.sampled_from([1, 2, 50]))
    def same(random, N, T):
        x = random.standard_normal((T, 96)).astype(np.float32)
        for weight in (mxfp4_weight(random, N, 96), bfloat16_weight(random, N, 96)):
            first, *others = [core.matmul(x, weight, threads=count) for count in (1, 1, 2, 3, 5)]
            assert all(np.array_equal(first, other) for other in others)

    same()


@needs_core
@pytest.mark.parametrize("level", LEVELS)
def test_experts_are_as_their_twin(core, level):
    core.use(level)

    @settings(max_examples=80)
    @given(seeds, st.integers(1, 40), st.integers(1, 4), st.sampled_from([1, 5, 9]), threads, st.floats(0.5, 8))
    def alike(random, T, A, E, count, limit):
        A, D, F = min(A, E), 96, 64
        weights = ExpertWeights(
            mxfp4_weight(random, E, 2 * F, D, scales=(121, 124)),
            bfloat16_weight(random, E, 2 * F),
            mxfp4_weight(random, E, D, F, scales=(121, 124)),
            bfloat16_weight(random, E, D),
        )
        x = random.standard_normal((T, D)).astype(np.float32)
        chosen = np.array([random.permutation(E)[:A] for _ in range(T)])
        routing = Routing(chosen, random.random((T, A)).astype(np.float32))
        exact = experts.mix_experts(x.astype(np.float64), routing, weights, 1.702, limit)
        assert nmse(core.mix_experts(x, routing, weights, 1.702, limit, threads=count), exact) < 1e-11

    alike()


@needs_core
@pytest.mark.parametrize("level", LEVELS)
def test_a_nan_scale_reaches_the_tokens_of_its_expert_and_no_other(core, level, random):
    core.use(level)
    weights = ExpertWeights(
        mxfp4_weight(random, 3, 128, 96, scales=(121, 124)),
        np.zeros((3, 128), np.float32),
        mxfp4_weight(random, 3, 96, 64, scales=(121, 124)),
        np.zeros((3, 96), np.float32),
    )
    scales = weights.gate_up.scales.copy()
    scales[1, 5] = 255
    weights = weights._replace(gate_up=MXFP4Array(weights.gate_up.blocks, scales))
    x, share = random.standard_normal((4, 96)).astype(np.float32), np.ones((4, 1), np.float32)
    y = core.mix_experts(x, Routing(np.array([[0], [1], [2], [1]]), share), weights, 1.702, 7.0, threads=2)
    assert np.isnan(y).all(axis=1).tolist() == [False, True, False, True]
    assert np.isfinite(y[[0, 2]]).all()


@needs_core
@pytest.mark.parametrize("level", LEVELS)
def test_whole_models_are_close_to_float64(level, tmp_path, monkeypatch):
    monkeypatch.setenv("MINIOSS_SIMD", level)
    ids = np.random.default_rng(1).integers(101, size=60)
    for seed, config in enumerate(
        [small_config(), small_config(hidden_size=160, num_local_experts=32, num_experts_per_tok=4)]
    ):
        folder = synthesize(tmp_path, config, seed=seed)
        exact = minioss.load(folder, dtype="float64")(ids)
        for count in (1, 3):
            model = minioss.load(folder, threads=count)
            cache = model.new_cache()
            stepwise = np.concatenate([model(part, cache=cache) for part in (ids[:1], ids[1:30], ids[30:31], ids[31:])])
            assert nmse(model(ids), exact) < 1e-10 and nmse(stepwise, exact) < 1e-10


@needs_core
def test_the_activation_is_as_exact_as_float32_allows(core):
    """Through an expert that is the identity on its inputs: gate in, activation out."""
    F = 32
    gate = np.linspace(-95, 12, 64 * F, dtype=np.float32).reshape(64, F)
    one = np.zeros((1, 2 * F, 1, 16), np.uint8)
    for row in range(F):
        one[0, 2 * row, 0, row // 2] = 0x20 if row % 2 else 0x02
    down = one[:, 0::2]
    scales = np.full((1, 2 * F, 1), 127, np.uint8)
    weights = ExpertWeights(MXFP4Array(one, scales), np.zeros((1, 2 * F), np.float32), MXFP4Array(down, scales[:, :F]), np.zeros((1, F), np.float32))  # fmt: skip
    routing = Routing(np.zeros((64, 1), np.intp), np.ones((64, 1), np.float32))
    exact = experts.mix_experts(gate.astype(np.float64), routing, weights, 1.702, 7.0)
    error = np.abs(core.mix_experts(gate, routing, weights, 1.702, 7.0, threads=1) - exact)
    # Rounding the exponent itself costs its size times half a unit in the last place.
    assert (error <= (1e-6 + 2e-7 * np.abs(gate)) * np.abs(exact) + 1e-36).all()


@needs_core
def test_what_a_kernel_cannot_serve_it_leaves_to_numpy(core, random):
    x = random.standard_normal((2, 64)).astype(np.float32)
    weight = mxfp4_weight(random, 5, 64)
    refused = [
        (x.astype(np.float64), weight),
        (x, random.standard_normal((5, 64))),
        (x[:, :32], weight),
        (x[:0], weight),
        (x[0], weight),
        (x, mxfp4_weight(random, 2, 5, 64)),
        (x, MXFP4Array(weight.blocks, weight.scales[:, :1])),
        (x, MXFP4Array(weight.blocks.astype(np.int32), weight.scales)),
        (x, BFloat16Array(np.zeros((5, 64), np.int16))),
        (x, BFloat16Array(np.zeros((0, 64), np.uint16))),
    ]
    for given_x, given_weight in refused:
        assert core.matmul(given_x, given_weight, threads=2) is NotImplemented
    for nonsense in (None, 3, "x"):
        with pytest.raises(AttributeError):
            core.matmul(x, nonsense, threads=1)


@needs_core
def test_experts_that_a_kernel_cannot_serve(core, random):
    weights = ExpertWeights(
        mxfp4_weight(random, 3, 128, 96), np.zeros((3, 128), np.float32), mxfp4_weight(random, 3, 96, 64), np.zeros((3, 96), np.float32)
    )  # fmt: skip
    x, share = random.standard_normal((2, 96)).astype(np.float32), np.ones((2, 1), np.float32)
    routing = Routing(np.array([[0], [2]]), share)
    assert core.mix_experts(x, routing, weights, 1.7, 7.0, threads=2).shape == (2, 96)
    for wrong_x, wrong_routing, wrong_weights in [
        (x.astype(np.float64), routing, weights),
        (x[:, :64], routing, weights),
        (x, Routing(np.array([[0], [3]]), share), weights),
        (x, Routing(np.array([[0], [-1]]), share), weights),
        (x, routing, weights._replace(down=mxfp4_weight(random, 3, 96, 96))),
        (x, routing, weights._replace(down=bfloat16_weight(random, 3, 96, 64))),
        (x, routing, weights._replace(gate_up=bfloat16_weight(random, 3, 128, 96))),
    ]:
        assert core.mix_experts(wrong_x, wrong_routing, wrong_weights, 1.7, 7.0, threads=1) is NotImplemented


@needs_core
def test_a_transposed_weight_is_read_as_it_should(core, random):
    weight = bfloat16_weight(random, 64, 40).swapaxes(0, 1)
    x = random.standard_normal((3, 64)).astype(np.float32)
    hold_bound(core.matmul(x, weight, threads=1), x, weight)


@needs_core
def test_the_instruction_set_is_chosen_by_name(core, tiny, monkeypatch):
    assert core.available()[0] == "scalar"
    for level in core.available():
        monkeypatch.setenv("MINIOSS_SIMD", level)
        minioss.load(tiny)
        assert core.in_use() == level
    monkeypatch.setenv("MINIOSS_SIMD", "sse9")
    with pytest.raises(minioss.InputError, match="MINIOSS_SIMD is 'sse9'; this processor has scalar"):
        minioss.load(tiny)
    with pytest.raises(ValueError, match="instruction set is 'sse9'"):
        core.use("sse9")


@pytest.mark.parametrize("given", ["0", "many", "-1", "2.5", "5000"])
def test_a_wrong_number_of_threads(tiny, monkeypatch, given):
    monkeypatch.setenv("MINIOSS_THREADS", given)
    with pytest.raises(minioss.InputError, match="MINIOSS_THREADS is .*; expected 1 to 1024"):
        minioss.load(tiny)
    with pytest.raises(minioss.InputError, match="threads is 0; expected 1 to 1024"):
        minioss.load(tiny, threads=0)


def test_threads_may_be_set_for_all(monkeypatch):
    monkeypatch.setenv("MINIOSS_THREADS", "3")
    assert kernels.default_threads() == 3
    monkeypatch.delenv("MINIOSS_THREADS")
    assert 1 <= kernels.default_threads() <= os.cpu_count()


# The seam


def product():
    return linear.matmul(np.ones((1, 2)), np.ones((3, 2)))


def test_a_marked_function_is_replaced_for_the_length_of_a_with():
    with kernels.using({"linear.matmul": lambda *_: "replaced"}):
        assert product() == "replaced"
    assert product().tolist() == [[2, 2, 2]]


def test_a_stand_in_may_leave_a_call_to_numpy():
    with kernels.using({"linear.matmul": lambda *_: NotImplemented}):
        assert product().tolist() == [[2, 2, 2]]


def test_the_choice_stays_within_its_thread():
    seen = []
    with kernels.using({"linear.matmul": lambda *_: "replaced"}):
        thread = threading.Thread(target=lambda: seen.append(product()))
        thread.start()
        thread.join()
    assert seen[0].tolist() == [[2, 2, 2]]


@needs_core
def test_every_binding_has_a_marked_function():
    for name in kernels.CYTHON:
        module, function = name.split(".")
        assert hasattr(getattr(importlib.import_module(f"minioss.{module}"), function), "__wrapped__")


@needs_core
def test_the_model_uses_the_choice(tiny, monkeypatch):
    calls = []
    for name, kernel in kernels.CYTHON.items():

        def counting(*given, name=name, kernel=kernel, **options):
            result = kernel(*given, **options)
            calls.append(name if result is not NotImplemented else None)
            return result

        monkeypatch.setitem(kernels.CYTHON, name, counting)
    for choice, dtype, used in [
        ("numpy", "float32", set()),
        (None, "float64", set()),
        (None, "float32", set(kernels.CYTHON)),
        ("cython", "float32", set(kernels.CYTHON)),
    ]:
        calls.clear()
        minioss.load(tiny, dtype=dtype, kernels=choice)([1, 2])
        assert set(calls) == used


def test_what_cannot_be_is_refused(tiny, monkeypatch):
    with pytest.raises(minioss.InputError, match="kernels is 'fortran'; expected 'numpy', 'cython' or None"):
        minioss.load(tiny, kernels="fortran")
    monkeypatch.setattr(kernels, "MISSING", None)
    with pytest.raises(minioss.InputError, match="float64 runs in NumPy alone"):
        minioss.load(tiny, dtype="float64", kernels="cython")
    monkeypatch.setattr(kernels, "MISSING", "No module named 'minioss._core'")
    with pytest.raises(minioss.InputError, match="the extension minioss._core is not there"):
        minioss.load(tiny, kernels="cython")


# Measuring


@needs_core
@pytest.mark.parametrize("level", LEVELS)
def test_every_product_has_a_name_and_a_peak(core, level):
    core.use(level)
    assert list(core.products()) == ["float32", "bfloat16", "int8"]
    for activations, name in core.products().items():
        assert name.isascii() and len(name) < 60
        for count in (1, 3):
            assert 1e6 < core.peak(threads=count, activations=activations) < 1e15


@needs_core
@pytest.mark.parametrize("size", [0, 1, 127, 2**20, 3 * 2**20 + 5])
def test_reading_takes_time(core, size):
    buffer = unaligned(np.random.default_rng(0), (size,))
    for count in (1, 3):
        assert 0 < core.read_seconds(buffer, threads=count) < 60


@needs_core
def test_only_contiguous_bytes_are_read(core):
    for buffer in (np.zeros(8, np.uint8)[::2], np.zeros(8), np.zeros((2, 2), np.uint8)):
        with pytest.raises(ValueError):
            core.read_seconds(buffer, threads=1)
