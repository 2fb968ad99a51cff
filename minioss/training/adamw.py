"""AdamW: a step along the mean gradient, in units of its own size, and a decay apart from it.

    m = β₁ m + (1 - β₁) g        v = β₂ v + (1 - β₂) g²
    w = w - rate (λ w + (m / (1 - β₁ⁿ)) / (sqrt(v / (1 - β₂ⁿ)) + ε))        at step n = 1, 2, …

Only the matrices of products decay. Gains, biases and sinks do not, for they have no scale to lose;
nor does the embedding, whose rows are looked up: a rare token's row would only shrink.

Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019), algorithm 2. As in
torch, the decay is multiplied by the rate.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DECAYED = (
    "query.weight",
    "key.weight",
    "value.weight",
    "output.weight",
    "router.weight",
    "gate_up",
    "down",
    "unembedding",
)
# A piece of each array stays in the processor's cache from the first line of the formula to the last.
VALUES_PER_PIECE = 2**15


@dataclass(frozen=True)
class AdamW:
    """β₁, β₂, ε and λ."""

    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    decay: float = 0.1


def clip(gradients: Iterable[NDArray], largest: float) -> float:
    """Shrink all gradients alike, in place, so that their norm together is at most ``largest``. Returns what it was.

    Source: Pascanu et al., "On the difficulty of training recurrent neural networks" (2013), algorithm 1.
    """
    gradients = [gradient.reshape(-1) for gradient in gradients]
    norm = math.sqrt(sum(float(np.vecdot(gradient, gradient)) for gradient in gradients))
    if norm > largest:
        for gradient in gradients:
            gradient *= largest / norm
    return norm


def update(
    weight: NDArray, gradient: NDArray, mean: NDArray, square: NDArray, step: int, rate: float, options: AdamW
) -> None:
    """One step of one array. ``weight``, ``mean`` and ``square`` (m and v) are changed in place.

    Parameters
    ----------
    step : n, from 1
    options : with a ``decay`` of 0 for what does not decay
    """
    flat = [array.reshape(-1) for array in (weight, gradient, mean, square)]
    for first in range(0, weight.size, VALUES_PER_PIECE):
        w, g, m, v = (array[first : first + VALUES_PER_PIECE] for array in flat)
        m *= options.beta1
        m += (1 - options.beta1) * g
        v *= options.beta2
        v += (1 - options.beta2) * np.square(g)
        size = np.sqrt(v)
        size *= 1 / math.sqrt(1 - options.beta2**step)
        size += options.eps
        change = np.divide(m, size, out=size)
        change *= rate / (1 - options.beta1**step)
        w *= 1 - rate * options.decay
        w -= change
