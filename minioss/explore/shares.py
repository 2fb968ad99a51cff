"""Weights as whole thousandths that still sum to one.

Rounding each weight by itself would let a row of many sum to anything. Here each is rounded down, and the
thousandths that are then missing go to those that lost most: none is off by more than one thousandth.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

WHOLE = 1000
SMALLEST_SHOWN = 0.01


def thousandths(weights: ArrayLike) -> NDArray[np.int64]:
    """Rows of weights as integers that sum to 1000, by the method of largest remainders.

    Parameters
    ----------
    weights : 0 or more, (…, N); a row sums to 1

    Examples
    --------
    >>> thousandths([1 / 3, 1 / 3, 1 / 3])
    array([334, 333, 333])
    >>> thousandths([0.9996, 0.0004, 0.0])
    array([1000,    0,    0])
    """
    exact = WHOLE * np.asarray(weights, np.float64)
    down = np.floor(exact).astype(np.int64)
    missing = WHOLE - down.sum(axis=-1, keepdims=True)
    order = np.argsort(down - exact, axis=-1, kind="stable")
    rank = np.argsort(order, axis=-1, kind="stable")
    return down + (rank < missing)


def attention_rows(weights_nTS: NDArray) -> list[list[list[int]]]:
    """Where each token looks with each head: the sink, the keys worth showing, and all others together.

    Parameters
    ----------
    weights_nTS : attention weights of one layer without the sink's, (n, T, S)

    Returns
    -------
    list
        By token and head, ``[sink, others, key, share, key, share, …]`` with keys in order. Shares are thousandths,
        and sum to 1000; ``others`` are all keys that get less than a hundredth.

    Examples
    --------
    >>> attention_rows(np.array([[[0.25, 0.0], [0.005, 0.9]]]))
    [[[750, 0, 0, 250]], [[95, 5, 1, 900]]]
    """
    weights_TnS = weights_nTS.transpose(1, 0, 2).astype(np.float64)
    sink_Tn1 = np.maximum(1 - weights_TnS.sum(axis=-1, keepdims=True), 0)
    kept_TnS = np.where(weights_TnS >= SMALLEST_SHOWN, weights_TnS, 0)
    others_Tn1 = (weights_TnS - kept_TnS).sum(axis=-1, keepdims=True)
    return [
        [_row(shares) for shares in thousandths(shares_nN)]
        for shares_nN in np.concatenate([sink_Tn1, others_Tn1, kept_TnS], axis=-1)
    ]


def _row(shares: NDArray[np.int64]) -> list[int]:
    keys = np.flatnonzero(shares[2:])
    pairs = np.stack([keys, shares[2:][keys]], axis=1)
    return [*shares[:2].tolist(), *pairs.ravel().tolist()]
