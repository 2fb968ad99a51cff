"""The seam, and the kernels against their NumPy twins: every instruction set, format, size and number of threads."""

import importlib
import os
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minioss
from minioss import attention, bfloat16, experts, kernels, linear, precision, rmsnorm, rope
from minioss.bfloat16 import BFloat16Array
from minioss.experts import ExpertWeights
from minioss.linear import Linear
from minioss.mxfp4 import MXFP4Array
from minioss.mxint8 import MXINT8Array
from minioss.rope import Rotation
from minioss.router import Routing
from tests.models import nmse, small_config, synthesize
from tests.twins import (
    LEVELS,
    PACKED,
    at_odd_address,
    bfloat16_weight,
    hold_bound,
    mxfp4_weight,
    mxint8_weight,
    needs_core,
    random_bytes,
    seeds,
    shapes,
    threads,
    weight_of,
)


@needs_core
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("make", PACKED)
def test_products_are_within_the_rounding_bound(core, level, make):
    core.use(level)

    @settings(max_examples=120)
    @given(seeds, *shapes, st.integers(1, 70), st.sampled_from([1, 1e-35]), threads)
    def bounded(random, N, blocks, tail, T, size, count):
        weight = weight_of(make, random, N, blocks, tail)
        x = (size * random.standard_normal((T, weight.shape[1]))).astype(np.float32)
        hold_bound(core.matmul(x, weight, threads=count), x, weight, level)

    bounded()


@needs_core
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("T", [1, 3, 40])
@pytest.mark.parametrize(("make", "overflows"), [(mxfp4_weight, 253), (mxint8_weight, 248)])
@pytest.mark.parametrize("rung", ["float32", "bfloat16", "int8"])
def test_every_scale_byte(core, level, T, make, overflows, rung):
    """One row a scale, subnormal and NaN included; where the NumPy twin may overflow a product of few tokens need not."""
    core.use(level)
    random = np.random.default_rng(0)
    weight = make(random, 256, 160)
    each = replace(weight, scales=np.repeat(np.arange(256, dtype=np.uint8)[:, None], 5, axis=1))
    mixed = replace(weight, scales=random_bytes(random, 256, 5))
    kept = (mixed.scales < overflows).all(axis=1)
    x = random.standard_normal((T, 160)).astype(np.float32) / 64
    y, y_mixed = (core.matmul(x, one, threads=2, activations=rung) for one in (each, mixed))
    rounded = x if rung == "float32" else precision.ACTIVATIONS[rung](x)
    hold_bound(y[:, :overflows], rounded, each[:overflows], level)
    hold_bound(y_mixed[:, kept], rounded, mixed[kept], level)
    assert np.isnan(y[:, 255]).all()


@needs_core
@pytest.mark.parametrize("level", LEVELS)
def test_results_do_not_depend_on_threads_or_runs(core, level):
    core.use(level)

    @settings(max_examples=20)
    @given(seeds, st.integers(1, 300), st.sampled_from([1, 2, 50]))
    def same(random, N, T):
        x = random.standard_normal((T, 96)).astype(np.float32)
        for weight in (make(random, N, 96) for make in PACKED):
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
        (x, MXINT8Array(np.zeros((5, 2, 32), np.uint8), weight.scales)),
        (x, MXINT8Array(np.zeros((5, 2, 16), np.int8), weight.scales)),
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
        (x, routing, weights._replace(gate_up_bias=np.zeros((3, 129), np.float32))),
        (x, routing, weights._replace(down_bias=np.zeros((2, 96), np.float32))),
        (x, Routing(np.array([[0]]), share), weights),
        (x, Routing(np.array([[0], [2]]), share[:1]), weights),
        (x, Routing(np.zeros((2, 0), np.intp), share[:, :0]), weights),
        (x[0], routing, weights),
    ]:
        assert core.mix_experts(wrong_x, wrong_routing, wrong_weights, 1.7, 7.0, threads=1) is NotImplemented


@needs_core
def test_a_transposed_weight_is_read_as_it_should(core, random):
    weight = bfloat16_weight(random, 64, 40).swapaxes(0, 1)
    x = random.standard_normal((3, 64)).astype(np.float32)
    hold_bound(core.matmul(x, weight, threads=1), x, weight)


@needs_core
@pytest.mark.parametrize("level", LEVELS)
def test_linear_is_the_product_and_its_bias(core, level):
    core.use(level)

    def biases(random, N):
        numbers = random.standard_normal(N).astype(np.float32)
        yield at_odd_address(numbers)
        yield numbers.astype(np.float16)
        yield bfloat16_weight(random, N)

    @settings(max_examples=30)
    @given(seeds, st.sampled_from(PACKED), st.integers(1, 70), st.integers(1, 20), threads)
    def added(random, make, N, T, count):
        x, weight = random.standard_normal((T, 64)).astype(np.float32), make(random, N, 64)
        for bias in biases(random, N):
            y = core.linear(x, Linear(weight, bias), threads=count)
            assert np.array_equal(y, core.matmul(x, weight, threads=count) + linear.decode(bias, np.float32))

    added()


@needs_core
def test_linear_maps_that_a_kernel_cannot_serve(core, random):
    x, weight, bias = random.standard_normal((2, 64)).astype(np.float32), mxfp4_weight(random, 5, 64), np.zeros(5)
    assert core.linear(x, Linear(weight, bias), threads=2).shape == (2, 5)
    for wrong in [(x.astype(np.float64), weight, bias), (x, weight, bias[:4]), (x, weight, bias[None]), (x[:, :32], weight, bias)]:  # fmt: skip
        assert core.linear(wrong[0], Linear(*wrong[1:]), threads=2) is NotImplemented


# Attention


def as_the_cache_keeps(random, S, H, K, storage):
    """Keys or values: a part of something larger, since the arrays grow in chunks and may hold more heads."""
    larger = random.standard_normal((S + 3, H + 1, K)).astype(np.float32)
    if storage == "bfloat16":
        return BFloat16Array(bfloat16.encode(larger))[1 : S + 1, :H]
    return larger[1 : S + 1, :H]


@st.composite
def attentions(draw):
    """Arguments of `attend`: the scores small or large, the sinks far above or below them."""
    random = draw(seeds)
    S = draw(st.integers(1, 200))
    T, K = draw(st.one_of(st.just(1), st.integers(1, S))), draw(st.sampled_from([16, 32, 48, 64]))
    H, G = draw(st.integers(1, 3)), draw(st.integers(1, 8))
    size, sink = draw(st.sampled_from([1, 30, 3000])), draw(st.sampled_from([0, 50, -50]))
    query = (size * random.standard_normal((T, H * G, K))).astype(np.float32)
    key, value = (as_the_cache_keeps(random, S, H, K, draw(st.sampled_from(["float32", "bfloat16"]))) for _ in "kv")
    sinks = (sink + random.standard_normal(H * G)).astype(np.float32)
    return query, key, value, sinks, draw(st.sampled_from([None, 1, 7, 64, 1000]))


def exact_attention(query, key, value, sinks, window):
    """The twin in float64, and how far float32 may be off.

    An error of d in a score or in the exponent changes a weight by at most about 2 d of itself, after division by
    the sum too; what is summed over S positions is rounded S times.
    """
    key, value = linear.decode(key, np.float64), linear.decode(value, np.float64)
    query, group, (S, _, K) = query.astype(np.float64), query.shape[1] // key.shape[1], key.shape
    exact = attention.attend(query, key, value, sinks.astype(np.float64), window)
    products = np.einsum("tnk,snk->tns", np.abs(query), np.repeat(np.abs(key), group, axis=1)) / np.sqrt(K)
    largest = products.max(axis=-1, keepdims=True)
    in_score, in_exponent = (K + 8) * largest, 4 * np.minimum(88, 2 * largest + np.abs(sinks)[:, None])
    sizes = attention.attend(query, key, np.abs(value), sinks.astype(np.float64), window)
    # Above: of their own size; below: e^-87 is the least weight, even of what is not seen.
    return exact, 2.0**-24 * (2 * (in_score + in_exponent) + S + 16) * sizes + 1e-36 * S


@needs_core
@pytest.mark.parametrize("level", LEVELS)
def test_attention_is_as_its_twin(core, level):
    core.use(level)

    @settings(max_examples=100)
    @given(attentions(), threads)
    def alike(arguments, count):
        exact, allowed = exact_attention(*arguments)
        mixed = core.attend(*arguments, threads=count)
        assert (np.abs(mixed - exact) <= allowed).all()

    alike()


@needs_core
@pytest.mark.parametrize("level", LEVELS)
def test_attention_does_not_depend_on_threads(core, level):
    core.use(level)

    @settings(max_examples=20)
    @given(attentions())
    def same(arguments):
        first, *others = [core.attend(*arguments, threads=count) for count in (1, 2, 3, 5)]
        assert all(np.array_equal(first, other) for other in others)

    same()


@needs_core
@pytest.mark.parametrize("level", LEVELS)
def test_a_nan_in_a_query_stays_in_its_head(core, level, random):
    core.use(level)
    query = random.standard_normal((70, 6, 32)).astype(np.float32)
    key, value = random.standard_normal((2, 90, 2, 32)).astype(np.float32)
    query[33, 4, 7] = np.nan
    mixed = core.attend(query, key, value, np.zeros(6, np.float32), 40, threads=2)
    assert np.argwhere(np.isnan(mixed).any(axis=-1)).tolist() == [[33, 4]] and np.isnan(mixed[33, 4]).all()


@needs_core
@pytest.mark.parametrize("level", LEVELS)
def test_what_a_query_does_not_see_changes_nothing(core, level, random):
    core.use(level)
    query = random.standard_normal((5, 4, 16)).astype(np.float32)
    key, value = random.standard_normal((2, 80, 2, 16)).astype(np.float32)
    sinks = np.zeros(4, np.float32)
    before = core.attend(query, key, value, sinks, 3, threads=2)
    key[:73], value[:73], key[79], value[79] = 1e15, 1e15, -1e15, 1e15
    after = core.attend(query, key, value, sinks, 3, threads=2)
    assert np.allclose(after[:4], before[:4], rtol=1e-6, atol=1e-6) and not np.allclose(after[4], before[4])


def attention_that_a_kernel_cannot_serve(query, key, value, sinks):
    wide = np.zeros((9, 4, 272), np.float32)
    yield query.astype(np.float64), key, value, sinks
    yield query, key.astype(np.float64), value, sinks
    yield query, key, value.astype(np.float16), sinks
    yield query, key, value, sinks.astype(np.float64)
    yield query, BFloat16Array(key.view(np.int32)), value, sinks
    yield query[..., :24], key[..., :24], value[..., :24], sinks
    yield wide, wide[:, :2], wide[:, :2], sinks
    yield np.repeat(query, 17, axis=1), key, value, np.repeat(sinks, 17)
    yield query, key[:3], value[:3], sinks
    yield query, key, value[:-1], sinks
    yield query, key[:, :, ::2], value[:, :, ::2], sinks
    yield query[..., :16], key[:, :, ::2], value[:, :, ::2], sinks
    yield query, key[::-1], value, sinks
    yield query, key[:, ::-1], value, sinks
    yield query, key, value, sinks[:3]
    yield query[:, :3], key, value, sinks[:3]
    yield query[:0], key, value, sinks
    yield query, key[:, :0], value[:, :0], sinks
    yield query, key[0], value[0], sinks
    yield query[0], key, value, sinks


@needs_core
def test_attention_that_a_kernel_leaves_to_numpy(core, random):
    query = random.standard_normal((5, 4, 32)).astype(np.float32)
    key, value = random.standard_normal((2, 9, 2, 32)).astype(np.float32)
    sinks = np.zeros(4, np.float32)
    assert core.attend(query, key, value, sinks, 4, threads=2).shape == query.shape
    assert core.attend(query.swapaxes(0, 1)[:, :4], key, value, sinks, 4, threads=2).shape == (4, 4, 32)
    for wrong in attention_that_a_kernel_cannot_serve(query, key, value, sinks):
        assert core.attend(*wrong, None, threads=2) is NotImplemented


# Norms and rotations


@needs_core
@given(seeds, st.integers(1, 40), st.integers(1, 300), st.sampled_from([1e-12, 1, 1e12]), st.booleans(), threads)
def test_norms_are_within_the_rounding_bound(core, random, T, D, size, turned, count):
    x = (size * random.standard_normal((T, D))).astype(np.float32)
    x = np.asfortranarray(x) if turned else x
    gain = random.standard_normal(D).astype(np.float32)
    exact = rmsnorm.rms_norm(x.astype(np.float64), gain.astype(np.float64), 1e-5)
    # Sixteen sums side by side; the root halves their error; root, quotient and two products round once each.
    allowed = 2.0**-24 * (D / 32 + 16) * np.abs(exact) + 1e-37
    assert (np.abs(core.rms_norm(x, gain, 1e-5, threads=count) - exact) <= allowed).all()


@needs_core
@given(seeds, st.integers(1, 40), st.integers(1, 5), st.integers(1, 40), st.booleans(), threads)
def test_rotations_are_within_the_rounding_bound(core, random, T, heads, half, turned, count):
    x = random.standard_normal((T, heads, 2 * half)).astype(np.float32)
    x = x[:, ::-1] if turned else x
    cosine, sine = random.standard_normal((2, T, half)).astype(np.float32)
    exact = rope.rotate(x.astype(np.float64), Rotation(cosine.astype(np.float64), sine.astype(np.float64)))
    first, second = np.split(np.abs(x).astype(np.float64), 2, axis=-1)
    cosines, sines = np.abs(cosine)[:, None], np.abs(sine)[:, None]
    sizes = np.concatenate([first * cosines + second * sines, second * cosines + first * sines], axis=-1)
    # Two products round, and so does their sum: each by half a unit of no more than both together.
    allowed = 2.0**-24 * (2 + 2.0**-23) * sizes
    assert (np.abs(core.rotate(x, Rotation(cosine, sine), threads=count) - exact) <= allowed).all()


@needs_core
def test_norms_and_rotations_that_a_kernel_leaves_to_numpy(core, random):
    x, gain = random.standard_normal((3, 8)).astype(np.float32), np.ones(8, np.float32)
    wide = gain.astype(np.float64)
    for wrong in [(x.astype(np.float64), gain), (x, wide), (x, gain[:7]), (x[:0], gain), (x[:, :0], gain[:0]), (x[0], gain), (x[None], x), (x, gain[None])]:  # fmt: skip
        assert core.rms_norm(*wrong, 1e-5, threads=2) is NotImplemented
    heads, turn = x[:, None], x[:, :4]
    assert core.rotate(heads, Rotation(turn, turn), threads=2).shape == (3, 1, 8)
    odd = turn[:, :3]
    for wrong, cosine, sine in [
        (heads.astype(np.float64), turn, turn),
        (heads, turn.astype(np.float64), turn),
        (heads, turn, turn.astype(np.float64)),
        (heads, turn[:2], turn),
        (heads, turn, odd),
        (heads[..., :7], odd, odd),
        (heads[:0], turn[:0], turn[:0]),
        (x, turn, turn),
    ]:
        assert core.rotate(wrong, Rotation(cosine, sine), threads=2) is NotImplemented


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


def test_wrappers_stand_around_what_is_bound_and_around_one_another():
    def around(word):
        return lambda right, *given: [word, right(*given)]

    with kernels.wrapping({"linear.matmul": around("inner")}), kernels.wrapping({"linear.matmul": around("outer")}):
        with kernels.using({"linear.matmul": lambda *_: "bound"}):
            assert product() == ["outer", ["inner", "bound"]]
        outer, (inner, values) = product()
        assert (outer, inner, values.tolist()) == ("outer", "inner", [[2, 2, 2]])
    assert product().tolist() == [[2, 2, 2]]


def test_wrappers_go_with_an_exception():
    with pytest.raises(KeyError), kernels.wrapping({"linear.matmul": lambda *_: "wrapped"}):
        raise KeyError
    assert product().tolist() == [[2, 2, 2]]


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
        minioss.load(tiny, dtype=dtype, kernels=choice, dense="int8")([1, 2])
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
    buffer = random_bytes(np.random.default_rng(0), size)
    for count in (1, 3):
        assert 0 < core.read_seconds(buffer, threads=count) < 60


@needs_core
def test_only_contiguous_bytes_are_read(core):
    for buffer in (np.zeros(8, np.uint8)[::2], np.zeros(8), np.zeros((2, 2), np.uint8)):
        with pytest.raises(ValueError):
            core.read_seconds(buffer, threads=1)
