"""Unembedding and cross-entropy, forward and backward at once.

    z = x Uᵀ        L = Σ_t m[t] (ln Σ_v exp(z[t, v]) - z[t, target[t]])
    dz = m (softmax(z) - 1 at the target)        dx = dz U        dU = dzᵀ x

m weighs each target: 0 where a prediction does not count. The logits are the largest arrays of
the whole pass, so they are made, used and dropped a few tokens at a time; tokens of weight 0
are left out.
"""

import numpy as np
from numpy.typing import NDArray

TOKENS_PER_PIECE = 256


def cross_entropy(logits_TV: NDArray, target_T: NDArray[np.integer], weight_T: NDArray) -> tuple[float, NDArray]:
    """The weighted sum over the targets, in nats, and its dz (T, V).

    Works in place: ``logits_TV`` becomes the gradient.
    """
    token_T = np.arange(len(target_T))
    logits_TV -= logits_TV.max(axis=-1, keepdims=True)
    of_target_T = logits_TV[token_T, target_T]
    np.exp(logits_TV, out=logits_TV)
    sum_T = logits_TV.sum(axis=-1)
    loss = float(weight_T @ (np.log(sum_T) - of_target_T))
    logits_TV *= (weight_T / sum_T)[:, None]
    logits_TV[token_T, target_T] -= weight_T
    return loss, logits_TV


def unembed(
    x_TD: NDArray, unembedding_VD: NDArray, target_T: NDArray[np.integer], weight_T: NDArray
) -> tuple[float, NDArray, NDArray]:
    """The loss, dx (T, D) and dU (V, D)."""
    loss, dx_TD, dunembedding_VD = 0.0, np.zeros_like(x_TD), np.zeros_like(unembedding_VD)
    counted = np.flatnonzero(weight_T)
    for first in range(0, len(counted), TOKENS_PER_PIECE):
        piece = counted[first : first + TOKENS_PER_PIECE]
        part, dlogits_TV = cross_entropy(x_TD[piece] @ unembedding_VD.T, target_T[piece], weight_T[piece])
        loss += part
        dx_TD[piece] = dlogits_TV @ unembedding_VD
        dunembedding_VD += dlogits_TV.T @ x_TD[piece]
    return loss, dx_TD, dunembedding_VD
