"""Exercises on the blocks of the model, in reading order."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from minioss import attention, mxfp4, router
from minioss.checkpoint.loading import TINY, load
from minioss.exercises.checking import Exercise, Slip
from minioss.experts import swiglu
from minioss.rmsnorm import rms_norm
from minioss.rope import Rotation, rotate
from minioss.verify.tracing import trace

# The residual stream


@cache
def some_trace() -> dict[str, NDArray]:
    """What the tiny model does with a few tokens."""
    return trace(load(TINY, dtype="float64"), np.arange(300, 312))


def added(found: dict[str, NDArray], layers: range, *blocks: str) -> NDArray:
    """The sum of what blocks of some layers add to the stream."""
    return sum(found[f"layers.{layer}.{block}.output"] for layer in layers for block in blocks)


BOTH = "attention", "experts"

RESIDUAL = Exercise(
    "residual",
    "stream(trace, layer): the residual stream after a layer, added up from the embedding and all that was put in.",
    lambda found, layer: found[f"layers.{layer}.output"],
    lambda random: (some_trace(), int(random.integers(1, 6))),
    (
        Slip(
            lambda found, layer: added(found, range(layer + 1), *BOTH),
            "That is what the layers added. What did they add it to?",
        ),
        Slip(
            lambda found, layer: found["embedding"] + added(found, range(layer), *BOTH),
            "That is the stream before this layer. Layers count from 0.",
        ),
        Slip(
            lambda found, layer: found["embedding"] + added(found, range(layer + 1), "attention"),
            "The experts add to the stream, too.",
        ),
    ),
)

# RMSNorm

RMSNORM = Exercise(
    "rmsnorm",
    "norm(x_TD, gain_D, eps): every row at a root mean square of 1, times the gain.",
    rms_norm,
    lambda random: (random.normal(0.5, 0.1, (3, 5)), random.normal(size=5), 0.01),
    (
        Slip(
            lambda x, gain, eps: rms_norm(x - x.mean(axis=-1, keepdims=True), gain, eps),
            "You subtract the mean: that is LayerNorm. RMSNorm leaves it.",
        ),
        Slip(
            lambda x, gain, eps: rms_norm(x, gain + 1, eps),
            "There is no + 1 in the gain: it multiplies as it is stored.",
        ),
        Slip(
            lambda x, gain, eps: x / (np.sqrt(np.mean(x**2, axis=-1, keepdims=True)) + eps) * gain,
            "eps belongs inside the root.",
        ),
    ),
)

# MXFP4


def decoded(blocks: NDArray[np.uint8], scale: int) -> NDArray:
    """32 numbers of 16 bytes."""
    return mxfp4.decode(blocks[None, :], np.array([scale], np.uint8), np.float64).ravel()


def with_low_nibbles_in_front(blocks: NDArray[np.uint8], scale: int) -> NDArray:
    """As they lie in GGUF."""
    values = decoded(blocks, scale)
    return np.concatenate([values[0::2], values[1::2]])


MXFP4 = Exercise(
    "mxfp4",
    "decode(bytes_16, scale): the 32 numbers of one block; 16 bytes of two 4-bit codes each, and the scale's byte.",
    decoded,
    lambda random: (random.integers(0, 256, 16, dtype=np.uint8), int(random.integers(110, 140))),
    (
        Slip(
            lambda blocks, scale: decoded((blocks >> 4) | (blocks << 4), scale),
            "The lower four bits of a byte come first.",
        ),
        Slip(lambda blocks, scale: decoded(blocks, scale) / 2, "A scale byte b means 2^(b - 127), not 2^(b - 128)."),
        Slip(
            with_low_nibbles_in_front,
            "You put all low nibbles before all high ones: GGUF does that. Here the two codes of a byte are neighbours.",
        ),
    ),
)

# RoPE


def turned(x_K: NDArray, position: int, omega_k: NDArray) -> NDArray:
    """A head after RoPE."""
    angle = position * omega_k[None, :]
    return rotate(x_K[None, None, :], Rotation(np.cos(angle), np.sin(angle))).ravel()


def neighbours(x_K: NDArray, position: int, omega_k: NDArray) -> NDArray:
    """The same with pairs of neighbours."""
    return turned(np.concatenate([x_K[0::2], x_K[1::2]]), position, omega_k).reshape(2, -1).T.ravel()


ROPE = Exercise(
    "rope",
    "turn(x_K, position, omega_k): a head turned by its position; omega_k are the K/2 pairs' radians a token.",
    turned,
    lambda random: (random.normal(size=8), int(random.integers(1, 50)), 0.1 ** np.arange(4)),
    (
        Slip(neighbours, "Pair i is x[i] and x[i + K/2], the halves, not neighbours."),
        Slip(lambda x, position, omega: turned(x, -position, omega), "You turn the other way round."),
        Slip(lambda x, position, omega: turned(x, 1, omega), "The angle grows with the position."),
    ),
)

# Attention

ATTENTION = Exercise(
    "attention",
    "kv_head(n, query_heads, kv_heads): which key/value head query head n reads.",
    lambda n, query_heads, kv_heads: n // (query_heads // kv_heads),
    lambda random: (int(random.integers(5, 12)), 12, int(random.choice([2, 3, 6]))),
    (
        Slip(
            lambda n, query_heads, kv_heads: n % kv_heads,
            "Heads of a group are neighbours: divide, do not take the rest.",
        ),
        Slip(
            lambda n, query_heads, kv_heads: n // kv_heads,
            "Divide by the size of a group, not by the number of groups.",
        ),
        Slip(lambda n, query_heads, kv_heads: n, "There are fewer key/value heads than query heads."),
    ),
)


def plain_softmax(scores_S: NDArray) -> NDArray:
    """Weights that sum to 1."""
    exponentials_S = np.exp(scores_S - scores_S.max())
    return exponentials_S / exponentials_S.sum()


SINKS = Exercise(
    "sinks",
    "weights(scores_S, sink): the softmax of the scores and the sink, without the sink's own share.",
    lambda scores, sink: attention.softmax_with_sink(scores[None, None, None], np.full((1, 1, 1, 1), sink)).ravel(),
    lambda random: (random.normal(size=5), float(random.normal())),
    (
        Slip(
            lambda scores, sink: plain_softmax(scores), "Your weights sum to 1. The sink takes a share, which is lost."
        ),
        Slip(lambda scores, sink: plain_softmax(np.append(scores, sink)), "The sink's own weight is dropped."),
        Slip(
            lambda scores, sink: np.exp(scores) / (np.exp(scores).sum() + sink),
            "The sink is a logit like the scores: its exponential joins the sum.",
        ),
    ),
)
WINDOWS = Exercise(
    "windows",
    "sees(t, u, window): whether the query at position t sees the key at position u on a sliding layer.",
    lambda t, u, window: bool(attention.visible(t + 1, max(t, u) + 1, window)[t, u]) if u <= t else False,
    lambda random: (9, 9 - int(random.integers(-1, 6)), 4),
    (
        Slip(lambda t, u, window: 0 <= t - u <= window, "One too wide: the query itself is one of the window."),
        Slip(lambda t, u, window: 0 <= t - u < window - 1, "One too narrow: the query and the window - 1 before it."),
        Slip(lambda t, u, window: abs(t - u) < window, "A query must not see what comes after it."),
    ),
)

# Router and experts


def routed(logits_E: NDArray, k: int) -> tuple[NDArray, NDArray]:
    """The chosen experts, best first, and their weights."""
    (expert_A,) = router.top_k(logits_E[None], k)
    return expert_A, router.softmax(logits_E[expert_A])


def softmax_first(logits_E: NDArray, k: int) -> tuple[NDArray, NDArray]:
    """The same with the softmax over all experts."""
    expert_A, _ = routed(logits_E, k)
    return expert_A, router.softmax(logits_E)[expert_A]


ROUTER = Exercise(
    "router",
    "route(logits_E, k): the k best experts, best first, and their weights; two arrays.",
    routed,
    lambda random: (random.normal(size=7), int(random.integers(2, 5))),
    (
        Slip(softmax_first, "You take the softmax before the choice. It comes after, over the chosen logits alone."),
        Slip(
            lambda logits, k: (routed(logits, k)[0], 1 / (1 + np.exp(-logits[routed(logits, k)[0]]))),
            "A sigmoid is not a softmax: the weights of a token must sum to 1.",
        ),
        Slip(
            lambda logits, k: tuple(part[::-1] for part in routed(logits, k)),
            "The best expert comes first.",
        ),
    ),
)


def activated(h_2F: NDArray, alpha: float, limit: float) -> NDArray:
    """The clamped SwiGLU of one token."""
    return swiglu(h_2F[None], alpha, limit)[0]


def clamped_below(h_2F: NDArray, alpha: float, limit: float) -> NDArray:
    """The same with a gate that is clamped on both sides."""
    return activated(np.maximum(h_2F, -limit), alpha, limit)


def without_one(h_2F: NDArray, alpha: float, limit: float) -> NDArray:
    """The same without the + 1."""
    gate = np.minimum(h_2F[0::2], limit)
    return gate / (1 + np.exp(-alpha * gate)) * np.clip(h_2F[1::2], -limit, limit)


EXPERTS = Exercise(
    "experts",
    "activate(h_2F, alpha, limit): from gate and up, interleaved, to the F numbers that the second map reads.",
    activated,
    lambda random: (random.normal(0, 3, 12), 1.702, 2.0),
    (
        Slip(
            lambda h, alpha, limit: activated(h.reshape(2, -1).T.ravel(), alpha, limit),
            "Gate and up alternate: h[0::2] and h[1::2], not two halves.",
        ),
        Slip(clamped_below, "The gate is clamped from above only."),
        Slip(without_one, "up + 1: an up of zero lets the gate through."),
    ),
)

EXERCISES = (RESIDUAL, RMSNORM, MXFP4, ROPE, ATTENTION, SINKS, WINDOWS, ROUTER, EXPERTS)
