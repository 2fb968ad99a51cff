"""The blocks, each against its definition written out naively, in float64."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minioss import RopeConfig, attention, experts, linear, rmsnorm, rope, router
from minioss.attention import attend, visible
from minioss.bfloat16 import BFloat16Array
from minioss.experts import ExpertWeights
from minioss.linear import Linear
from minioss.mxfp4 import MXFP4Array
from minioss.router import Routing
from tests.models import ropes

seeds = st.integers(0, 2**32).map(np.random.default_rng)


# Linear


def weights_of_every_format(random, N, D):
    yield random.standard_normal((N, D)).astype(np.float32)
    yield random.standard_normal((N, D)).astype(np.float16)
    yield BFloat16Array(random.integers(0x3E00, 0x4000, (N, D), dtype=np.uint16))
    yield BFloat16Array(random.integers(0x3E00, 0x4000, (D, N), dtype=np.uint16)).swapaxes(0, 1)
    yield MXFP4Array(
        random.integers(0, 256, (N, D // 32, 16), dtype=np.uint8),
        random.integers(120, 130, (N, D // 32), dtype=np.uint8),
    )


@given(seeds, st.integers(1, 40), st.integers(1, 3), st.integers(1, 5), st.integers(1, 3000))
def test_linear_is_the_product_whatever_the_format_and_the_chunk(random, N, blocks, T, chunk):
    D = 32 * blocks
    x = random.standard_normal((T, D))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear, "VALUES_PER_CHUNK", chunk)
        for weight in weights_of_every_format(random, N, D):
            bias = random.standard_normal(N).astype(np.float16)
            whole = linear.decode(weight, np.float64)
            assert np.allclose(linear.linear(x, Linear(weight, bias)), x @ whole.T + bias, rtol=0, atol=1e-9)
            assert linear.matmul(x.astype(np.float32), weight).dtype == np.float32


def test_a_product_decodes_no_more_than_a_chunk(random, monkeypatch):
    sizes = []
    decode = linear.decode
    monkeypatch.setattr(
        linear, "decode", lambda weight, dtype: sizes.append(math.prod(weight.shape)) or decode(weight, dtype)
    )
    monkeypatch.setattr(linear, "VALUES_PER_CHUNK", 1000)
    linear.matmul(np.ones((2, 64)), BFloat16Array(random.integers(0, 2**14, (500, 64), dtype=np.uint16)))
    assert max(sizes) <= 1000 and sum(sizes) == 500 * 64


# RMSNorm


@given(seeds, st.floats(1e-6, 1e3), st.sampled_from([1e-5, 1e-2]))
def test_rms_norm(random, size, eps):
    x, gain = size * random.standard_normal((3, 7)), random.standard_normal(7)
    for row, normed in zip(x, rmsnorm.rms_norm(x, gain, eps), strict=True):
        expected = [g * v / math.sqrt(sum(row**2) / 7 + eps) for g, v in zip(gain, row, strict=True)]
        assert np.allclose(normed, expected, rtol=1e-13)


@given(seeds, st.floats(0.1, 10))
def test_rms_norm_does_not_see_the_size(random, size):
    x = random.standard_normal((3, 50))
    assert np.allclose(rmsnorm.rms_norm(size * x, np.ones(50), 0.0), rmsnorm.rms_norm(x, np.ones(50), 0.0))


# RoPE


@given(seeds, ropes(), st.sampled_from([16, 32, 64]), st.integers(0, 10**5), st.integers(0, 10**5))
def test_scores_depend_on_the_distance_alone(random, config, K, first, second):
    query, key = random.standard_normal((2, 1, 1, K))

    def score(query_position, key_position):
        turned = [
            rope.rotate(x, rope.rotation(np.array([position]), config, K, np.float64))
            for x, position in ((query, query_position), (key, key_position))
        ]
        return np.sum(turned[0] * turned[1])

    assert score(first + 7, second + 7) == pytest.approx(score(first, second), abs=1e-8)


@given(seeds, ropes(), st.integers(0, 10**5))
def test_rotation_scales_lengths_by_the_concentration(random, config, position):
    x = random.standard_normal((1, 3, 32))
    turned = rope.rotate(x, rope.rotation(np.array([position]), config, 32, np.float64))
    assert np.allclose(np.linalg.norm(turned, axis=-1), rope.concentration(config) * np.linalg.norm(x, axis=-1))


def test_the_halves_turn_together():
    quarter = rope.Rotation(np.zeros((1, 2)), np.ones((1, 2)))
    assert rope.rotate(np.array([[[1.0, 2.0, 3.0, 4.0]]]), quarter).tolist() == [[[-3.0, -4.0, 1.0, 2.0]]]


def test_the_official_ramp_is_not_rounded():
    """Its ends are 8.09 and 17.40, not 8 and 18."""
    ramp = rope.yarn_ramp(RopeConfig(), 64)
    inside = np.flatnonzero((ramp > 0) & (ramp < 1))
    slope = ramp[10] - ramp[9]
    assert inside.tolist() == list(range(9, 18))
    assert 9 - ramp[9] / slope == pytest.approx(8.09, abs=0.005)
    assert 1 / slope + 9 - ramp[9] / slope == pytest.approx(17.40, abs=0.005)
    rounded = rope.yarn_ramp(RopeConfig(truncate=True), 64)
    assert rounded[8] == 0 and rounded[18] == 1 and rounded[13] == 0.5


def test_the_official_frequencies():
    frequencies = rope.inverse_frequencies(RopeConfig(), 64)
    assert frequencies[0] == 1 and frequencies[8] == pytest.approx(150000 ** (-8 / 32))
    assert frequencies[31] == pytest.approx(150000 ** (-31 / 32) / 32)
    assert rope.concentration(RopeConfig()) == pytest.approx(1.3465735902799727, abs=1e-15)
    assert rope.concentration(RopeConfig(attention_factor=1.5)) == 1.5


def test_float32_angles_are_right_far_out():
    positions = np.array([131071])
    single = rope.rotation(positions, RopeConfig(), 64, np.float32)
    double = rope.rotation(positions, RopeConfig(), 64, np.float64)
    assert np.abs(single.cos_Tk - double.cos_Tk).max() < 1e-7


# Attention


def naive_attention(query, key, value, sinks, window):
    """One query, one head, one key at a time."""
    (T, heads, K), (S, kv_heads, _) = query.shape, key.shape
    out = np.zeros_like(query)
    for t in range(T):
        for n in range(heads):
            position, h = S - T + t, n // (heads // kv_heads)
            seen = [u for u in range(S) if u <= position and (window is None or position - u < window)]
            weights = [math.exp(query[t, n] @ key[u, h] / math.sqrt(K)) for u in seen]
            total = sum(weights) + math.exp(sinks[n])
            out[t, n] = sum(w * value[u, h] for w, u in zip(weights, seen, strict=True)) / total
    return out


@settings(max_examples=60)
@given(
    seeds,
    st.integers(1, 9),
    st.integers(0, 9),
    st.integers(1, 3),
    st.integers(1, 4),
    st.one_of(st.none(), st.integers(1, 12)),
    st.integers(1, 200),
)
def test_attention_by_the_definition(random, T, before, H, G, window, scores_per_block):
    K, S = 4, before + T
    query = random.standard_normal((T, H * G, K))
    key, value = random.standard_normal((2, S, H, K))
    sinks = 2 * random.standard_normal(H * G)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "SCORES_PER_BLOCK", scores_per_block)
        mixed = attend(query, key, value, sinks, window)
    assert np.allclose(mixed, naive_attention(query, key, value, sinks, window), rtol=0, atol=1e-12)


def test_the_sink_takes_weight_and_gives_nothing(random):
    scores = random.standard_normal((1, 1, 3, 5))
    weights = attention.softmax_with_sink(scores.copy(), np.array(1.5).reshape(1, 1, 1, 1))
    assert np.allclose(weights.sum(axis=-1), 1 - np.exp(1.5) / (np.exp(scores).sum(axis=-1) + np.exp(1.5)))


@pytest.mark.parametrize("sink", [-1e4, 1e4])
def test_extreme_sinks_and_scores_do_not_overflow(sink):
    weights = attention.softmax_with_sink(np.array([[[[3e4, -3e4, 3e4]]]]), np.full((1, 1, 1, 1), sink))
    assert np.allclose(weights, [0.5, 0, 0.5])


@given(st.integers(1, 6), st.integers(0, 6), st.integers(1, 8))
def test_a_window_counts_the_query_itself(T, before, window):
    rows = visible(T, before + T, window)
    assert rows.sum(axis=1).tolist() == [min(before + t + 1, window) for t in range(T)]
    assert rows[:, before:].diagonal().all()


def test_no_key_is_repeated(random, monkeypatch):
    """Memory of the products: scores for every query head, but keys for the key/value heads alone."""
    import tracemalloc

    T, H, G, K, S = 1, 2, 8, 64, 20000
    query, key = random.standard_normal((T, H * G, K)), random.standard_normal((S, H, K))
    tracemalloc.start()
    attend(query, key, key, np.zeros(H * G), None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < key.nbytes


# Router


@given(seeds, st.integers(2, 9), st.integers(1, 4))
def test_the_router_takes_the_largest_and_then_the_softmax(random, E, A):
    A = min(A, E)
    x, weight, bias = random.standard_normal((5, 6)), random.standard_normal((E, 6)), random.standard_normal(E)
    routing = router.route(x, Linear(weight, bias), A)
    for t in range(5):
        logits = weight @ x[t] + bias
        chosen = sorted(range(E), key=lambda e: -logits[e])[:A]
        assert routing.expert_TA[t].tolist() == chosen
        exponentials = np.exp(logits[chosen])
        assert np.allclose(routing.weight_TA[t], exponentials / exponentials.sum())


def test_of_equal_logits_the_lower_index_wins():
    assert router.top_k(np.array([[1.0, 3.0, 3.0, 3.0]]), 2).tolist() == [[1, 2]]


def test_router_logits_of_any_size_are_safe():
    assert router.softmax(np.array([[1e5, 1e5 - 1]])).sum() == pytest.approx(1)


# Experts


def random_experts(random, E, D, F):
    return ExpertWeights(
        random.standard_normal((E, 2 * F, D)),
        random.standard_normal((E, 2 * F)),
        random.standard_normal((E, D, F)),
        random.standard_normal((E, D)),
    )


@given(seeds, st.integers(1, 7), st.integers(1, 4), st.floats(0.5, 8))
def test_experts_token_by_token(random, T, A, limit):
    E, D, F, alpha = 5, 4, 3, 1.702
    x, weights = random.standard_normal((T, D)), random_experts(random, E, D, F)
    chosen = np.array([random.permutation(E)[:A] for _ in range(T)])
    routing = Routing(chosen, random.random((T, A)))
    mixed = experts.mix_experts(x, routing, weights, alpha, limit)
    for t in range(T):
        expected = np.zeros(D)
        for e, share in zip(chosen[t], routing.weight_TA[t], strict=True):
            hidden = weights.gate_up[e] @ x[t] + weights.gate_up_bias[e]
            activation = []
            for f in range(F):
                gate, up = min(hidden[2 * f], limit), max(-limit, min(hidden[2 * f + 1], limit))
                activation.append(gate / (1 + math.exp(-alpha * gate)) * (up + 1))
            expected += share * (weights.down[e] @ activation + weights.down_bias[e])
        assert np.allclose(mixed[t], expected, rtol=0, atol=1e-11)


@given(seeds)
def test_the_order_of_tokens_does_not_matter(random):
    x, weights = random.standard_normal((6, 4)), random_experts(random, 5, 4, 3)
    routing = Routing(random.integers(5, size=(6, 1)), random.random((6, 1)))
    order = random.permutation(6)
    shuffled = Routing(routing.expert_TA[order], routing.weight_TA[order])
    mixed = experts.mix_experts(x, routing, weights, 1.702, 7.0)
    assert np.allclose(experts.mix_experts(x[order], shuffled, weights, 1.702, 7.0), mixed[order])


def test_the_gate_is_clamped_from_above_only():
    def activation(gate, up):
        return experts.swiglu(np.array([[gate, up]]), 1.702, 7.0)[0, 0]

    assert activation(9.0, 0.5) == activation(7.0, 0.5)
    assert activation(-9.0, 0.5) != activation(-7.0, 0.5)
    assert activation(1.0, 9.0) == activation(1.0, 7.0) and activation(1.0, -9.0) == activation(1.0, -7.0)
    assert activation(-1e4, 2.0) == 0


def test_an_expert_that_no_token_chose_is_not_read(random):
    class Watched:
        def __init__(self, weight):
            self.weight, self.shape, self.read = weight, weight.shape, set()

        def __getitem__(self, index):
            self.read.add(int(index))
            return self.weight[index]

    weights = ExpertWeights(*map(Watched, random_experts(random, 5, 4, 3)))
    experts.mix_experts(np.ones((2, 4)), Routing(np.array([[3], [1]]), np.ones((2, 1))), weights, 1.702, 7.0)
    assert all(weight.read == {1, 3} for weight in weights)
