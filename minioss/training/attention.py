"""Grouped-query attention with sinks and windows, backward.

    s = q kᵀ / sqrt(K)    p[t, u] = exp(s[t, u]) / Z[t]    Z[t] = exp(sink) + Σ_u exp(s[t, u])    o = p v

    dv = pᵀ do            dp = do vᵀ
    ds = p · (dp - Σ_u p · dp)        where Σ_u p · dp = do · o, a sum over K numbers instead of S
    dq = ds k / sqrt(K)   dk = dsᵀ q / sqrt(K)
    dsink = -Σ_t exp(sink) / Z[t] (do · o)[t]

dk and dv are summed over the G queries of a group, which are rows of one product. The sink has
no value to give: all it can do is take weight from the others, hence the sign.

Queries go in blocks, and a block meets only the keys that one of its queries sees: a band on
sliding layers, and little more than half of the square on full ones. One sequence and one block
at a time, so that its scores stay in the processor's cache.

Source: the derivative of `minioss.attention`; Dao et al., "FlashAttention" (2022), appendix B.2,
for do · o.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minioss.attention import AttentionWeights, visible
from minioss.linear import Linear
from minioss.training import linear, rope

QUERIES_PER_BLOCK = 64


class Heads(NamedTuple):
    """Queries, keys and values of N sequences by head; a group of keys or values is one."""

    query_NSHGK: NDArray
    key_NSH1K: NDArray
    value_NSH1K: NDArray


class Block(NamedTuple):
    """Some queries of a sequence, the keys that they may see, and -inf where one may not: (queries G, keys)."""

    queries: slice
    keys: slice
    mask_RU: NDArray


class Saved(NamedTuple):
    """What the backward pass needs; ``weights`` are p, one array a sequence and block."""

    x_TD: NDArray
    maps: list[Linear]
    heads: Heads
    blocks: list[Block]
    weights: list[list[NDArray]]
    sink_weight_NSHG: NDArray
    mixed_NSHGK: NDArray


def forward(
    x_TD: NDArray, weights: AttentionWeights, turn_T1k: NDArray, window: int | None, sequences: int
) -> tuple[NDArray, Saved]:
    """As `minioss.attention.attention`, for sequences without a past.

    Parameters
    ----------
    x_TD : (T, D), normalised
    weights : the layer's weights, plain arrays
    turn_T1k : of every token's position, from `rope.turns`
    window : how many keys a query sees, itself included; None for all before it
    sequences : N, so that T = N S
    """
    K = 2 * turn_T1k.shape[-1]
    maps = [rope.side_by_side(weights.query, K), rope.side_by_side(weights.key, K), weights.value]
    query_TnK, key_THK, value_THK = (linear.forward(x_TD, part).reshape(len(x_TD), -1, K) for part in maps)
    rope.turn(query_TnK, turn_T1k)
    rope.turn(key_THK, turn_T1k)
    query_TnK *= 1 / math.sqrt(K)  # here instead of on the scores, which are more
    H = key_THK.shape[1]
    heads = Heads(*(part.reshape(sequences, -1, H, part.shape[1] // H, K) for part in (query_TnK, key_THK, value_THK)))
    mixed_NSHGK = np.empty_like(heads.query_NSHGK)
    _, S, _, G, _ = mixed_NSHGK.shape
    blocks = blocks_of(S, G, window, x_TD.dtype)
    saved = Saved(x_TD, maps, heads, blocks, [], np.empty_like(mixed_NSHGK[..., 0]), mixed_NSHGK)
    for sequence in range(sequences):
        saved.weights.append([attend(sequence, block, saved, weights.sinks.reshape(H, -1)) for block in blocks])
    return linear.forward(mixed_NSHGK.reshape(len(x_TD), -1), weights.output), saved


def backward(
    dy_TD: NDArray, saved: Saved, weights: AttentionWeights, turn_T1k: NDArray
) -> tuple[NDArray, AttentionWeights]:
    """dx (T, D), and the gradients of the weights."""
    T, K = len(dy_TD), saved.mixed_NSHGK.shape[-1]
    dmixed_TN, doutput = linear.backward(dy_TD, saved.mixed_NSHGK.reshape(T, -1), weights.output)
    dmixed_NSHGK = dmixed_TN.reshape(saved.mixed_NSHGK.shape)
    along_NSHG = np.vecdot(dmixed_NSHGK, saved.mixed_NSHGK)
    dheads = Heads(*map(np.zeros_like, saved.heads))
    for sequence, of_blocks in enumerate(saved.weights):
        for block, weights_HRU in zip(saved.blocks, of_blocks):
            backward_block(sequence, block, saved, weights_HRU, dmixed_NSHGK, along_NSHG, dheads)
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
    dsinks_n = -np.einsum("NSHG,NSHG->HG", saved.sink_weight_NSHG, along_NSHG).reshape(-1)
    return dx_TD, AttentionWeights(rope.halves(dquery, K), rope.halves(dkey, K), dvalue, doutput, dsinks_n)


def blocks_of(S: int, G: int, window: int | None, dtype: np.dtype) -> list[Block]:
    """The blocks of a sequence of S tokens."""
    blocks = []
    for first in range(0, S, QUERIES_PER_BLOCK):
        last = min(first + QUERIES_PER_BLOCK, S)
        first_key = 0 if window is None else max(0, first + 1 - window)
        seen_RU = visible(last - first, last - first_key, window).repeat(G, axis=0)
        blocks.append(Block(slice(first, last), slice(first_key, last), np.where(seen_RU, 0, -np.inf).astype(dtype)))
    return blocks


def rows(x_SHGK: NDArray) -> NDArray:
    """What belongs to a key/value head as the rows R of one matrix, position by position: (H, S G, K)."""
    S, H, G, K = x_SHGK.shape
    return x_SHGK.swapaxes(0, 1).reshape(H, S * G, K)


def unrows(x_HRK: NDArray, G: int) -> NDArray:
    """The inverse of `rows`."""
    H, R, K = x_HRK.shape
    return x_HRK.reshape(H, R // G, G, K).swapaxes(0, 1)


def attend(sequence: int, block: Block, saved: Saved, sinks_HG: NDArray) -> NDArray:
    """p of one block, (H, queries G, keys); what it mixes and what the sink takes are written to ``saved``."""
    queries, keys = (sequence, block.queries), (sequence, block.keys)
    query_SHGK = saved.heads.query_NSHGK[queries]
    S, _, G, _ = query_SHGK.shape
    weights_HRU = rows(query_SHGK) @ rows(saved.heads.key_NSH1K[keys]).swapaxes(1, 2)
    weights_HRU += block.mask_RU
    sink_HR1 = np.tile(sinks_HG, (1, S))[..., None]
    largest_HR1 = np.maximum(weights_HRU.max(axis=-1, keepdims=True), sink_HR1)
    weights_HRU -= largest_HR1
    np.exp(weights_HRU, out=weights_HRU)
    sink_HR1 = np.exp(sink_HR1 - largest_HR1)
    one_over_Z_HR1 = 1 / (weights_HRU.sum(axis=-1, keepdims=True) + sink_HR1)
    weights_HRU *= one_over_Z_HR1
    saved.mixed_NSHGK[queries] = unrows(weights_HRU @ rows(saved.heads.value_NSH1K[keys]), G)
    saved.sink_weight_NSHG[queries] = unrows(sink_HR1 * one_over_Z_HR1, G)[..., 0]
    return weights_HRU


def backward_block(
    sequence: int,
    block: Block,
    saved: Saved,
    weights_HRU: NDArray,
    dmixed_NSHGK: NDArray,
    along_NSHG: NDArray,
    dheads: Heads,
) -> None:
    """Add dq, dk and dv of one block to ``dheads``; the factor 1 / sqrt(K) is in q, and dq still misses it."""
    queries, keys = (sequence, block.queries), (sequence, block.keys)
    query_HRK, key_HUK, value_HUK = map(
        rows, (saved.heads.query_NSHGK[queries], saved.heads.key_NSH1K[keys], saved.heads.value_NSH1K[keys])
    )
    dmixed_HRK = rows(dmixed_NSHGK[queries])
    dscores_HRU = dmixed_HRK @ value_HUK.swapaxes(1, 2)
    dscores_HRU -= rows(along_NSHG[queries][..., None])
    dscores_HRU *= weights_HRU
    dheads.query_NSHGK[queries] = unrows(dscores_HRU @ key_HUK, along_NSHG.shape[-1])
    dheads.key_NSH1K[keys] += unrows(dscores_HRU.swapaxes(1, 2) @ query_HRK, 1)
    dheads.value_NSH1K[keys] += unrows(weights_HRU.swapaxes(1, 2) @ dmixed_HRK, 1)
