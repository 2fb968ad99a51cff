"""How far two arrays, or two sets of logits, are from one another.

    cosine = Σ x y / sqrt(Σ x² Σ y²)
    KL     = Σ p (log p - log q)                     of the next token's probabilities, in nats

All of them in float64, whatever the arrays are.
"""

import numpy as np
from numpy.typing import NDArray


def cosine(x: NDArray, y: NDArray) -> NDArray[np.float64]:
    """Of the last axis; 0 where either is 0."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    size = np.sqrt(np.sum(x * x, axis=-1) * np.sum(y * y, axis=-1))
    return np.sum(x * y, axis=-1) / np.where(size == 0, 1, size)


def log_softmax(logits_TV: NDArray) -> NDArray[np.float64]:
    """The logarithms of the probabilities."""
    shifted_TV = logits_TV - logits_TV.max(axis=-1, keepdims=True).astype(np.float64)
    return shifted_TV - np.log(np.exp(shifted_TV).sum(axis=-1, keepdims=True))


def kl(found_TV: NDArray, reference_TV: NDArray) -> NDArray[np.float64]:
    """KL(reference, found) of each position, (T,), from logits: exactly 0 for identical ones.

    Examples
    --------
    >>> kl(np.log([[0.5, 0.5]]), np.log([[0.9, 0.1]])).round(3)
    array([0.368])
    """
    log_p, log_q = log_softmax(reference_TV), log_softmax(found_TV)
    return np.sum(np.exp(log_p) * (log_p - log_q), axis=-1)


def top_k_agreement(found_TV: NDArray, reference_TV: NDArray, k: int) -> float:
    """Which share of the reference's k most probable tokens is among the k of the other, in the mean over positions."""
    found, reference = (np.argsort(-logits, axis=-1, kind="stable")[:, :k] for logits in (found_TV, reference_TV))
    return float(np.mean((found[:, :, None] == reference[:, None, :]).any(axis=1)))


def likeness(left_KT: NDArray, noise_KT: NDArray, between_KT: NDArray) -> float:
    """How much two deviations look alike, from -1 to 1: their mean cosine, over the quieter half of the tokens.

    From their squares, and that of what is between their ends: two sides of a triangle, and the third. A choice of
    the router that flips makes any two alike, hence the quieter half.
    """
    quiet_KT = (noise_KT > 0) & (noise_KT <= np.median(noise_KT, axis=-1, keepdims=True)) & (left_KT > 0)
    product_KT = (left_KT + noise_KT - between_KT) / 2
    cosine = product_KT[quiet_KT] / np.sqrt(left_KT[quiet_KT] * noise_KT[quiet_KT])
    return float(cosine.mean()) if cosine.size else 0.0
