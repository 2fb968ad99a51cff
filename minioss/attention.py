"""Grouped-query attention with sinks, on all tokens or in a sliding window.

    q, k, v = x W_qᵀ + b_q, x W_kᵀ + b_k, x W_vᵀ + b_v      then RoPE on q and k
    s[t, u] = q[t] · k[u] / sqrt(K)           where 0 ≤ t - u (and < window), else -∞
    p[t, u] = exp(s[t, u]) / (exp(sink) + Σ_u' exp(s[t, u']))
    y[t]    = (Σ_u p[t, u] v[u]) W_oᵀ + b_o

The token at position t looks at the one at position u with a score s and a weight p, in every head by itself, on K
numbers each. *Grouped*: G query heads share one of H key/value heads. Query head n of all H G reads head n // G, so the
queries of a group are rows of one product and the keys are never repeated. *Sink*: every query head has one learned
logit that joins the softmax and is then dropped; a head that finds nothing can leave its weight there, and rows sum to
less than 1. *Window*: on every other layer a query sees itself and the window - 1 tokens before it.

In the code, ``linear`` is x Wᵀ + b for a weight in any format, and ``decode`` gives a weight's numbers (linear.py).

Source: Ainslie et al., "GQA" (2023); Xiao et al., "Efficient Streaming Language Models with
Attention Sinks" (2023), for the idea; gpt_oss/torch/model.py, ``sdpa`` and ``AttentionBlock``.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minioss import kernels
from minioss.cache import Cache
from minioss.linear import Linear, Weight, decode, linear
from minioss.rope import Rotation, rotate

# Queries go in blocks whose scores number at most this (32 MB in float32), however long the prompt.
SCORES_PER_BLOCK = 2**23


class AttentionWeights(NamedTuple):
    """The four linear maps of a layer, and one sink logit a query head."""

    query: Linear  # (H G K, D)
    key: Linear  # (H K, D)
    value: Linear  # (H K, D)
    output: Linear  # (D, H G K)
    sinks: Weight  # (H G,)


class Span(NamedTuple):
    """The tokens of one prompt within the long T, and what that prompt has already seen."""

    tokens: slice
    cache: Cache


@kernels.twin
def attention(
    x_TD: NDArray, weights: AttentionWeights, layer: int, rotation: Rotation, spans: Sequence[Span]
) -> NDArray:
    """Let every token look at the tokens before it in its own prompt.

    Parameters
    ----------
    x_TD : float32 or float64, (T, D), normalised; the tokens of all prompts, one after the other
    weights : the layer's weights
    layer : which layer of the caches to extend
    rotation : cos and sin of every token's position
    spans : where each prompt's tokens are; their caches receive the new keys and values

    Returns
    -------
    (T, D), of the type of ``x_TD``
    """
    query_TnK, key_THK, value_THK = project(x_TD, weights, spans[0].cache.config.head_dim)
    query_TnK, key_THK = turn(query_TnK, key_THK, rotation)
    sinks_n = decode(weights.sinks, x_TD.dtype)
    mixed_TnK = np.empty_like(query_TnK)
    for tokens, cache in spans:
        key_SHK, value_SHK = cache.extend(layer, key_THK[tokens], value_THK[tokens])
        mixed_TnK[tokens] = attend(query_TnK[tokens], key_SHK, value_SHK, sinks_n, cache.window(layer))
    return linear(mixed_TnK.reshape(len(x_TD), -1), weights.output)


@kernels.twin
def project(x_TD: NDArray, weights: AttentionWeights, K: int) -> tuple[NDArray, NDArray, NDArray]:
    """The queries (T, H G, K), keys and values (T, H, K) of each token."""
    maps = (weights.query, weights.key, weights.value)
    return tuple(linear(x_TD, each).reshape(len(x_TD), -1, K) for each in maps)


@kernels.twin
def turn(query_TnK: NDArray, key_THK: NDArray, rotation: Rotation) -> tuple[NDArray, NDArray]:
    """The queries and keys after RoPE."""
    return rotate(query_TnK, rotation), rotate(key_THK, rotation)


@kernels.twin
def attend(query_TnK: NDArray, key_SHK: Weight, value_SHK: Weight, sinks_n: NDArray, window: int | None) -> NDArray:
    """Attention of the last T of S positions, in blocks of queries that bound the memory.

    Parameters
    ----------
    query_TnK : (T, H G, K); the last query stands at the last key
    key_SHK, value_SHK : (S, H, K), S ≥ T; as the cache keeps them
    sinks_n : (H G,)
    window : how many keys a query sees, itself included; ``None`` for all before it

    Returns
    -------
    (T, H G, K)
    """
    key_SHK, value_SHK = decode(key_SHK, query_TnK.dtype), decode(value_SHK, query_TnK.dtype)
    T, S = len(query_TnK), len(key_SHK)
    mixed_TnK = np.empty_like(query_TnK)
    step = max(1, SCORES_PER_BLOCK // (len(sinks_n) * S))
    for first in range(0, T, step):
        block = slice(first, min(first + step, T))
        last_key = S - T + block.stop
        first_key = 0 if window is None else max(0, S - T + first + 1 - window)
        keys = slice(first_key, last_key)
        mixed_TnK[block] = attend_block(query_TnK[block], key_SHK[keys], value_SHK[keys], sinks_n, window)
    return mixed_TnK


@kernels.twin
def attend_block(
    query_TnK: NDArray, key_SHK: NDArray, value_SHK: NDArray, sinks_n: NDArray, window: int | None
) -> NDArray:
    """Attention of the last T of S positions, all scores at once. Arguments and shapes as in `attend`."""
    T, (S, H, K) = len(query_TnK), key_SHK.shape
    query_HGTK = query_TnK.reshape(T, H, -1, K).transpose(1, 2, 0, 3)
    G = query_HGTK.shape[1]
    # The queries of a group are stacked as rows: one product a key/value head.
    scores_HGTS = (query_HGTK.reshape(H, G * T, K) @ key_SHK.transpose(1, 2, 0)).reshape(H, G, T, S)
    scores_HGTS /= math.sqrt(K)
    scores_HGTS[:, :, ~visible(T, S, window)] = -np.inf
    weights_HGTS = softmax_with_sink(scores_HGTS, sinks_n.reshape(H, G, 1, 1))
    mixed_HGTK = (weights_HGTS.reshape(H, G * T, S) @ value_SHK.transpose(1, 0, 2)).reshape(H, G, T, K)
    return mixed_HGTK.transpose(2, 0, 1, 3).reshape(T, H * G, K)


@kernels.twin
def visible(T: int, S: int, window: int | None) -> NDArray[np.bool_]:
    """Which of S keys each of the last T positions may see: (T, S).

    Examples
    --------
    >>> visible(3, 4, window=2).astype(int)
    array([[1, 1, 0, 0],
           [0, 1, 1, 0],
           [0, 0, 1, 1]])
    """
    distance_TS = np.arange(S - T, S)[:, None] - np.arange(S)
    return (distance_TS >= 0) & (distance_TS < (S if window is None else window))


@kernels.twin
def softmax_with_sink(scores_HGTS: NDArray, sink_HG11: NDArray) -> NDArray:
    """The softmax over the scores and the sink, with the sink's own weight dropped: (H, G, T, S).

    Works in place: ``scores_HGTS`` becomes the weights that it returns.
    """
    # exp(s - m) / Σ exp(s - m) is the same for every m; with the largest as m, no exp overflows.
    largest_HGT1 = np.maximum(scores_HGTS.max(axis=-1, keepdims=True), sink_HG11)
    scores_HGTS -= largest_HGT1
    np.exp(scores_HGTS, out=scores_HGTS)
    scores_HGTS /= scores_HGTS.sum(axis=-1, keepdims=True) + np.exp(sink_HG11 - largest_HGT1)
    return scores_HGTS
