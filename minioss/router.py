"""The router: which experts see a token, and how much each one counts.

    r = x Wᵀ + b                      one logit an expert
    e = the A largest of r            the active experts
    w = softmax(r[e])                 over these A alone

The softmax comes **after** the choice: the weights of the chosen experts sum to 1, and the logits of the others do not
enter.

Source: Shazeer et al., "Outrageously Large Neural Networks" (2017), eqs. 3 to 5;
gpt_oss/torch/model.py, ``MLPBlock.forward``.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minioss import kernels
from minioss.linear import Linear, exact_linear


class Routing(NamedTuple):
    """The router's choice: ``expert_TA`` ids, best first, and ``weight_TA``, which sum to 1."""

    expert_TA: NDArray[np.intp]
    weight_TA: NDArray


@kernels.twin
def route(x_TD: NDArray, weights: Linear, num_experts_per_tok: int) -> Routing:
    """Choose the active experts of each token.

    Parameters
    ----------
    x_TD : float32 or float64, (T, D), normalised
    weights : weight (E, D) and bias (E,)
    num_experts_per_tok : A, how many experts a token runs
    """
    logits_TE = exact_linear(x_TD, weights)
    expert_TA = top_k(logits_TE, num_experts_per_tok)
    token_T1 = np.arange(len(x_TD))[:, None]
    return Routing(expert_TA, softmax(logits_TE[token_T1, expert_TA]))


@kernels.twin
def top_k(logits_TE: NDArray, k: int) -> NDArray[np.intp]:
    """The indices of the k largest logits of each row, (T, k), largest first; of equals, the lower index."""
    return np.argsort(-logits_TE, axis=-1, kind="stable")[:, :k]


def softmax(logits_TA: NDArray) -> NDArray:
    """exp(r) / Σ exp(r) over the last axis, safe for large logits: (T, A)."""
    exponentials_TA = np.exp(logits_TA - logits_TA.max(axis=-1, keepdims=True))
    return exponentials_TA / exponentials_TA.sum(axis=-1, keepdims=True)
