"""Grouped-query attention with sinks and windows, backward.

    s = q kᵀ / sqrt(K)    p[t, u] = exp(s[t, u]) / Z[t]    Z[t] = exp(sink) + Σ_u exp(s[t, u])    o = p v

    dv = pᵀ do            dp = do vᵀ
    ds = p · (dp - Σ_u p · dp)        where Σ_u p · dp = do · o, a sum over K numbers instead of S
    dq = ds k / sqrt(K)   dk = dsᵀ q / sqrt(K)
    dsink = -Σ_t exp(sink) / Z[t] (do · o)[t]

dk and dv are summed over the G queries of a group, which are rows of one product. The sink has
no value to give: all it can do is take weight from the others, hence the sign.

The sequences of a batch lie one after the other, of any lengths. Their queries go in blocks, and a
block meets only the keys that one of its queries sees: a band on sliding layers, and little more
than half of the square on full ones. One block at a time, so that its scores stay in the
processor's cache.

Source: the derivative of `minioss.attention`; Dao et al., "FlashAttention" (2022), appendix B.2,
for do · o.
"""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minioss.attention import AttentionWeights, visible
from minioss.linear import Linear
from minioss.training import linear, rope

QUERIES_PER_BLOCK = 64


class Heads(NamedTuple):
    """Queries, keys and values of all tokens by head; a group of keys or values is one."""

    query_THGK: NDArray
    key_TH1K: NDArray
    value_TH1K: NDArray


class Block(NamedTuple):
    """Some queries of a sequence, the keys that they may see, and -inf where one may not: (queries G, keys)."""

    queries: slice
    keys: slice
    mask_RU: NDArray


class Saved(NamedTuple):
    """What the backward pass needs; ``weights`` are p, one array a block."""

    x_TD: NDArray
    maps: list[Linear]
    heads: Heads
    blocks: list[Block]
    weights: list[NDArray]
    sink_weight_THG: NDArray
    mixed_THGK: NDArray


def forward(
    x_TD: NDArray, weights: AttentionWeights, turn_T1k: NDArray, window: int | None, length_N: NDArray[np.integer]
) -> tuple[NDArray, Saved]:
    """As `minioss.attention.attention`, for sequences without a past.

    Parameters
    ----------
    x_TD : (T, D), normalised
    weights : the layer's weights, plain arrays
    turn_T1k : of every token's position, from `rope.turns`
    window : how many keys a query sees, itself included; None for all before it
    length_N : of the sequences, T in all
    """
    K = 2 * turn_T1k.shape[-1]
    maps = [rope.side_by_side(weights.query, K), rope.side_by_side(weights.key, K), weights.value]
    query_TnK, key_THK, value_THK = (linear.forward(x_TD, part).reshape(len(x_TD), -1, K) for part in maps)
    rope.turn(query_TnK, turn_T1k)
    rope.turn(key_THK, turn_T1k)
    query_TnK *= 1 / math.sqrt(K)  # here instead of on the scores, which are more
    H = key_THK.shape[1]
    heads = Heads(*(part.reshape(len(part), H, part.shape[1] // H, K) for part in (query_TnK, key_THK, value_THK)))
    mixed_THGK = np.empty_like(heads.query_THGK)
    blocks = list(blocks_of(length_N, mixed_THGK.shape[2], window, x_TD.dtype))
    saved = Saved(x_TD, maps, heads, blocks, [], np.empty_like(mixed_THGK[..., 0]), mixed_THGK)
    saved.weights.extend(attend(block, saved, weights.sinks.reshape(H, -1)) for block in blocks)
    return linear.forward(mixed_THGK.reshape(len(x_TD), -1), weights.output), saved


def backward(
    dy_TD: NDArray, saved: Saved, weights: AttentionWeights, turn_T1k: NDArray
) -> tuple[NDArray, AttentionWeights]:
    """dx (T, D), and the gradients of the weights."""
    T, K = len(dy_TD), saved.mixed_THGK.shape[-1]
    dmixed_TN, doutput = linear.backward(dy_TD, saved.mixed_THGK.reshape(T, -1), weights.output)
    dmixed_THGK = dmixed_TN.reshape(saved.mixed_THGK.shape)
    along_THG = np.vecdot(dmixed_THGK, saved.mixed_THGK)
    dheads = Heads(*map(np.zeros_like, saved.heads))
    for block, weights_HRU in zip(saved.blocks, saved.weights):
        backward_block(block, saved, weights_HRU, dmixed_THGK, along_THG, dheads)
    dquery_TnK, dkey_THK, dvalue_THK = (part.reshape(T, -1, K) for part in dheads)
    dquery_TnK *= 1 / math.sqrt(K)
    rope.turn(dquery_TnK, turn_T1k.conj())
    rope.turn(dkey_THK, turn_T1k.conj())
    results = [
        linear.backward(part.reshape(T, -1), saved.x_TD, of_part)
        for part, of_part in zip((dquery_TnK, dkey_THK, dvalue_THK), saved.maps)
    ]
    (dx_TD, dquery), (of_key_TD, dkey), (of_value_TD, dvalue) = results
    dx_TD += of_key_TD
    dx_TD += of_value_TD
    dsinks_n = -np.einsum("THG,THG->HG", saved.sink_weight_THG, along_THG).reshape(-1)
    return dx_TD, AttentionWeights(rope.halves(dquery, K), rope.halves(dkey, K), dvalue, doutput, dsinks_n)


def blocks_of(length_N: NDArray[np.integer], G: int, window: int | None, dtype: np.dtype) -> Iterator[Block]:
    """The blocks of all sequences."""
    for start, end in zip(np.cumsum(length_N) - length_N, np.cumsum(length_N)):
        for first in range(start, end, QUERIES_PER_BLOCK):
            last = min(first + QUERIES_PER_BLOCK, end)
            first_key = start if window is None else max(start, first + 1 - window)
            mask_RU = mask(last - first, last - first_key, G, window, dtype)
            yield Block(slice(first, last), slice(first_key, last), mask_RU)


@lru_cache(maxsize=1024)
def mask(queries: int, keys: int, G: int, window: int | None, dtype: np.dtype) -> NDArray:
    """-inf where one of the last queries may not see one of the keys up to the last query's: (queries G, keys)."""
    seen_RU = visible(queries, keys, window).repeat(G, axis=0)
    return np.where(seen_RU, 0, -np.inf).astype(dtype)


def rows(x_THGK: NDArray) -> NDArray:
    """What belongs to a key/value head as the rows R of one matrix, position by position: (H, T G, K)."""
    T, H, G, K = x_THGK.shape
    return x_THGK.swapaxes(0, 1).reshape(H, T * G, K)


def unrows(x_HRK: NDArray, G: int) -> NDArray:
    """The inverse of `rows`."""
    H, R, K = x_HRK.shape
    return x_HRK.reshape(H, R // G, G, K).swapaxes(0, 1)


def attend(block: Block, saved: Saved, sinks_HG: NDArray) -> NDArray:
    """p of one block, (H, queries G, keys); what it mixes and what the sink takes are written to ``saved``."""
    query_THGK = saved.heads.query_THGK[block.queries]
    T, _, G, _ = query_THGK.shape
    weights_HRU = rows(query_THGK) @ rows(saved.heads.key_TH1K[block.keys]).swapaxes(1, 2)
    weights_HRU += block.mask_RU
    sink_HR1 = np.tile(sinks_HG, (1, T))[..., None]
    largest_HR1 = np.maximum(weights_HRU.max(axis=-1, keepdims=True), sink_HR1)
    weights_HRU -= largest_HR1
    np.exp(weights_HRU, out=weights_HRU)
    sink_HR1 = np.exp(sink_HR1 - largest_HR1)
    one_over_Z_HR1 = 1 / (weights_HRU.sum(axis=-1, keepdims=True) + sink_HR1)
    weights_HRU *= one_over_Z_HR1
    saved.mixed_THGK[block.queries] = unrows(weights_HRU @ rows(saved.heads.value_TH1K[block.keys]), G)
    saved.sink_weight_THG[block.queries] = unrows(sink_HR1 * one_over_Z_HR1, G)[..., 0]
    return weights_HRU


def backward_block(
    block: Block, saved: Saved, weights_HRU: NDArray, dmixed_THGK: NDArray, along_THG: NDArray, dheads: Heads
) -> None:
    """Add dq, dk and dv of one block to ``dheads``; the factor 1 / sqrt(K) is in q, and dq still misses it."""
    queries, keys, heads = block.queries, block.keys, saved.heads
    query_HRK, key_HUK, value_HUK = map(rows, (heads.query_THGK[queries], heads.key_TH1K[keys], heads.value_TH1K[keys]))
    dmixed_HRK = rows(dmixed_THGK[queries])
    dscores_HRU = dmixed_HRK @ value_HUK.swapaxes(1, 2)
    dscores_HRU -= rows(along_THG[queries][..., None])
    dscores_HRU *= weights_HRU
    dheads.query_THGK[queries] = unrows(dscores_HRU @ key_HUK, along_THG.shape[-1])
    dheads.key_TH1K[keys] += unrows(dscores_HRU.swapaxes(1, 2) @ query_HRK, 1)
    dheads.value_TH1K[keys] += unrows(weights_HRU.swapaxes(1, 2) @ dmixed_HRK, 1)
