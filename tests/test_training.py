"""The backward pass of every block, in float64, against differences; the forward pass against the model."""

import math
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import minioss
from minioss.attention import AttentionWeights
from minioss.experts import ExpertWeights
from minioss.linear import Linear
from minioss.rope import rotation
from minioss.router import Routing, top_k
from minioss.training import attention, embedding, experts, linear, loss, rmsnorm, rope, router
from minioss.training.initial import initial
from minioss.training.parameters import assembled, named
from minioss.training.transformer import forward, loss_and_gradients
from tests.models import ropes, small_config
from tests.training import check_gradient, perturbed, random_batch, training_configs

SEEDS = st.integers(0, 2**32)
SIZES = st.integers(1, 9)


def with_one_changed(weights, index, array):
    """A NamedTuple of arrays with one of them replaced."""
    return weights._make([*weights[:index], array, *weights[index + 1 :]])


@given(SIZES, st.integers(2, 9), st.sampled_from([1e-5, 0.1]), SEEDS)
def test_rmsnorm(T, D, eps, seed):
    random = np.random.default_rng(seed)
    x, dy, gain = *random.standard_normal((2, T, D)), random.standard_normal(D)
    assume(np.square(x).mean(axis=-1).min() > 0.1)  # near 0 a difference of 0.001 is a large step
    dx, dgain = rmsnorm.backward(dy, rmsnorm.forward(x, gain, eps)[1])
    check_gradient(lambda x: np.sum(dy * rmsnorm.forward(x, gain, eps)[0]), x, dx, seed)
    check_gradient(lambda gain: np.sum(dy * rmsnorm.forward(x, gain, eps)[0]), gain, dgain, seed)


@given(SIZES, SIZES, SIZES, SEEDS)
def test_linear(T, D, N, seed):
    random = np.random.default_rng(seed)
    x, dy = random.standard_normal((T, D)), random.standard_normal((T, N))
    weights = Linear(random.standard_normal((N, D)), random.standard_normal(N))
    dx, gradients = linear.backward(dy, x, weights)
    check_gradient(lambda x: np.sum(dy * linear.forward(x, weights)), x, dx, seed)
    for index, gradient in enumerate(gradients):
        check_gradient(
            lambda array, index=index: np.sum(dy * linear.forward(x, with_one_changed(weights, index, array))),
            weights[index],
            gradient,
            seed,
        )


@given(ropes(), SIZES, st.sampled_from([2, 6, 16]), SEEDS)
def test_rope_turns_the_pairs_of_the_model_side_by_side_and_back(config, T, K, seed):
    random = np.random.default_rng(seed)
    x, dy = random.standard_normal((2, T, 3, K))
    angles = rotation(random.integers(10**5, size=T), config, K, np.float64)
    order = rope.side_by_side(Linear(np.arange(K)[:, None], np.arange(K)), K)
    assert np.array_equal(rope.halves(order, K).bias, np.arange(K))
    assert np.array_equal(rope.halves(order, K).weight, np.arange(K)[:, None])

    def turned(x):
        y = np.take(x, order.bias, axis=-1)
        rope.turn(y, rope.turns(angles))
        return y

    assert np.allclose(turned(x), minioss.rope.rotate(x, angles)[..., order.bias], rtol=1e-13, atol=1e-13)
    dx = np.take(dy, order.bias, axis=-1)
    rope.turn(dx, rope.turns(angles).conj())
    check_gradient(lambda x: np.sum(dy[..., order.bias] * turned(x)), x, dx[..., np.argsort(order.bias)], seed)


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 23), min_size=1, max_size=3),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([2, 6]),
    st.none() | st.integers(1, 25),
    st.integers(1, 9),
    SEEDS,
)
def test_attention(lengths, H, G, K, window, queries_per_block, seed):
    random = np.random.default_rng(seed)
    D, n = 5, H * G

    def random_linear(outputs, inputs):
        return Linear(random.standard_normal((outputs, inputs)), random.standard_normal(outputs))

    maps = (random_linear(rows, D) for rows in (n * K, H * K, H * K))
    weights = AttentionWeights(*maps, random_linear(D, n * K), 2 * random.standard_normal(n))
    positions = np.concatenate([np.arange(length) for length in lengths])
    turn = rope.turns(rotation(positions, minioss.RopeConfig(), K, np.float64))
    x, dy = random.standard_normal((2, sum(lengths), D))
    with mock.patch.object(attention, "QUERIES_PER_BLOCK", queries_per_block):

        def value(x, weights):
            return np.sum(dy * attention.forward(x, weights, turn, window, lengths)[0])

        dx, gradients = attention.backward(dy, attention.forward(x, weights, turn, window, lengths)[1], weights, turn)
        check_gradient(lambda x: value(x, weights), x, dx, seed)
        check_gradient(lambda sinks: value(x, weights._replace(sinks=sinks)), weights.sinks, gradients.sinks, seed)
        for name in ("query", "key", "value", "output"):
            ours, given_linear = getattr(gradients, name), getattr(weights, name)
            if np.linalg.norm(ours.weight) < 1e-6:
                continue  # one key without a choice: queries and keys do not matter
            for index in range(2):
                check_gradient(
                    lambda array, name=name, index=index, given_linear=given_linear: value(
                        x, weights._replace(**{name: with_one_changed(given_linear, index, array)})
                    ),
                    given_linear[index],
                    ours[index],
                    seed,
                )


@given(st.integers(1, 12), st.integers(1, 7), st.data(), SEEDS)
def test_router_and_load_balance(T, E, data, seed):
    A = data.draw(st.integers(1, E))
    random = np.random.default_rng(seed)
    x, dweight = random.standard_normal((T, 4)), random.standard_normal((T, A))
    weights = Linear(random.standard_normal((E, 4)), random.standard_normal(E))
    _, saved = router.forward(x, weights, A)
    if A < E:
        ordered = np.sort(saved.logits_TE, axis=-1)
        assume((ordered[:, -A] - ordered[:, -A - 1]).min() > 0.02)

    def value(x, weights):
        routing, saved = router.forward(x, weights, A)
        return np.sum(dweight * routing.weight_TA) + 0.7 * router.load_balance(saved)[0]

    dx, gradients = router.backward(dweight, 0.7 * router.load_balance(saved)[1], saved)
    assume(np.linalg.norm(dx) > 1e-6)  # one expert alone has nothing to choose
    check_gradient(lambda x: value(x, weights), x, dx, seed)
    for index in range(2):
        check_gradient(
            lambda array, index=index: value(x, with_one_changed(weights, index, array)),
            weights[index],
            gradients[index],
            seed,
        )


def test_the_balance_loss_is_one_where_all_experts_have_equal_shares():
    logits = Linear(np.eye(4) * 3, np.zeros(4))
    equal = router.forward(np.eye(4), logits, 1)[1]
    assert router.load_balance(equal)[0] == pytest.approx(1)
    one_sided = router.forward(np.eye(4)[[0, 0, 0, 1]], logits, 1)[1]
    assert router.load_balance(one_sided)[0] > 1.5


@given(st.integers(1, 12), st.integers(1, 5), st.data(), st.sampled_from([1.702, 1.0]), SEEDS)
def test_experts(T, E, data, alpha, seed):
    A = data.draw(st.integers(1, E))
    random = np.random.default_rng(seed)
    D, F = 5, 3
    shapes = (E, 2 * F, D), (E, 2 * F), (E, D, F), (E, D)
    weights = ExpertWeights(*(random.standard_normal(shape) for shape in shapes))
    x, dy = random.standard_normal((2, T, D))
    routing = Routing(top_k(random.standard_normal((T, E)), A), random.random((T, A)))
    limit = between_the_clamped(x, weights)

    def value(x, routing, weights):
        return np.sum(dy * experts.forward(x, routing, weights, alpha, limit)[0])

    _, saved = experts.forward(x, routing, weights, alpha, limit)
    dx, dweight, gradients = experts.backward(dy, saved, weights, alpha, limit)
    check_gradient(lambda x: value(x, routing, weights), x, dx, seed)
    check_gradient(lambda w: value(x, routing._replace(weight_TA=w), weights), routing.weight_TA, dweight, seed)
    for index, gradient in enumerate(gradients):
        check_gradient(
            lambda array, index=index: value(x, routing, with_one_changed(weights, index, array)),
            weights[index],
            gradient,
            seed,
        )


def between_the_clamped(x, weights) -> float:
    """A limit that clamps some numbers and not others, and is near none of them."""
    sizes = np.sort(np.abs(np.einsum("TD,END->TEN", x, weights.gate_up) + weights.gate_up_bias).ravel())
    sizes = sizes[len(sizes) // 2 :]
    widest = np.diff(sizes).argmax()
    return sizes[widest : widest + 2].mean()


@given(st.integers(1, 30), SIZES, SEEDS)
def test_embedding(T, V, seed):
    random = np.random.default_rng(seed)
    tokens, weight, dy = random.integers(V, size=T), random.standard_normal((V, 3)), random.standard_normal((T, 3))
    gradient = embedding.backward(dy, tokens, V)
    check_gradient(lambda weight: np.sum(dy * embedding.forward(tokens, weight)), weight, gradient, seed)


@given(st.integers(1, 20), st.integers(2, 9), st.integers(1, 7), SEEDS)
def test_unembedding_and_cross_entropy(T, V, tokens_per_piece, seed):
    random = np.random.default_rng(seed)
    x, weight, targets = random.standard_normal((T, 3)), random.standard_normal((V, 3)), random.integers(V, size=T)
    counts = random.random(T) * (random.random(T) < 0.8)
    counts[0] = 1
    with mock.patch.object(loss, "TOKENS_PER_PIECE", tokens_per_piece):
        total, dx, dweight = loss.unembed(x, weight, targets, counts)
        check_gradient(lambda x: loss.unembed(x, weight, targets, counts)[0], x, dx, seed)
        check_gradient(lambda weight: loss.unembed(x, weight, targets, counts)[0], weight, dweight, seed)
    logits = x @ weight.T
    surprise = np.log(np.exp(logits).sum(axis=-1)) - logits[np.arange(T), targets]
    assert total == pytest.approx(counts @ surprise)
    assert not dx[counts == 0].any()


@settings(max_examples=40)
@given(training_configs(), st.integers(1, 3), SEEDS)
def test_the_forward_pass_is_that_of_the_model(config, sequences, seed):
    weights = assembled(perturbed(config, seed))
    lengths = 2 * config.sliding_window + 5 - np.arange(sequences)
    batch = random_batch(config, 1, lengths.sum(), seed)._replace(length_N=lengths)
    x_TD, _, _ = forward(weights, batch, config)
    normed_TD, _ = rmsnorm.forward(x_TD, weights.norm, config.rms_norm_eps)
    logits_TV = normed_TD @ weights.unembedding.T
    model = minioss.Model(config, weights, dtype="float64")
    cuts = np.cumsum(lengths)[:-1]
    for ids, logits in zip(np.split(batch.token_T, cuts), np.split(logits_TV, cuts), strict=True):
        reference = model(ids)
        assert np.abs(logits - reference).max() <= 1e-12 * np.abs(reference).max()


def test_float32_stays_float32_and_is_near_float64():
    config = small_config()
    batch = random_batch(config, 3, 70, seed=0)
    exact = initial(config, 0, np.float64)
    losses, gradients = loss_and_gradients(exact, batch, config, balance=0.1)
    coarse = assembled({name: array.astype(np.float32) for name, array in named(exact).items()})
    losses32, gradients32 = loss_and_gradients(coarse, batch, config, balance=0.1)
    assert losses32 == pytest.approx(losses, rel=1e-5)
    for name, gradient in named(gradients).items():
        gradient32 = named(gradients32)[name]
        assert gradient32.dtype == np.float32, name
        assert np.linalg.norm(gradient32 - gradient) < 1e-3 * np.linalg.norm(gradient), name


def test_names_lead_back_to_the_same_arrays():
    weights = initial(small_config(), 0)
    again = assembled(named(weights))
    assert all(array is named(again)[name] for name, array in named(weights).items())
    assert math.prod(named(weights)["gate_up", 2].shape) == 8 * 128 * 96
