"""How far two arrays, or two sets of logits, are from one another.

    NMSE   = Σ (x - y)² / Σ y²                       of one array, y the reference
    cosine = Σ x y / sqrt(Σ x² Σ y²)
    KL     = Σ p (log p - log q)                     of the next token's probabilities, in nats

All of them in float64, whatever the arrays are.
"""

import numpy as np
from numpy.typing import NDArray


def nmse(found: NDArray, reference: NDArray) -> float:
    """Squared error over the squared size of the reference: exactly 0 for identical arrays.

    Examples
    --------
    >>> nmse(np.array([3.0, 4.1]), np.array([3.0, 4.0])).round(6)
    np.float64(0.0004)
    """
    found, reference = found.astype(np.float64), reference.astype(np.float64)
    return np.sum(np.square(found - reference)) / max(np.sum(np.square(reference)), np.finfo(float).tiny)


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
