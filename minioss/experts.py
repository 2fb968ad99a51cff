"""The experts: E small feed-forward networks, of which each token runs A.

    h = x W₁ᵀ + b₁                    2F numbers: F of gate and F of up, **interleaved**
    gate = min(h[0::2], limit)        clamped from above only
    up = clip(h[1::2], -limit, limit)
    a = gate · σ(α gate) · (up + 1)   σ(z) = 1 / (1 + exp(-z)), α = 1.702
    y = a W₂ᵀ + b₂

and the token's result is Σ w y over its active experts, biases included, with the router's weights w. The limit is 7.

Rather than run each token's experts in turn, run each expert's tokens at once: *gather* the rows of x that chose the
expert, *multiply*, and *scatter* the weighted results back. An expert that no token chose is never read from disk.

Source: Shazeer, "GLU Variants Improve Transformer" (2020), eq. 5, for the gated unit;
gpt_oss/torch/model.py, ``swiglu`` and ``MLPBlock.forward``, for the clamp, α and the "+ 1".
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minioss import kernels
from minioss.linear import Linear, Weight, linear
from minioss.router import Routing


class ExpertWeights(NamedTuple):
    """The weights of all experts of a layer; rows of ``gate_up`` alternate gate, up, gate, up…"""

    gate_up: Weight  # (E, 2F, D)
    gate_up_bias: Weight  # (E, 2F)
    down: Weight  # (E, D, F)
    down_bias: Weight  # (E, D)


@kernels.twin
def swiglu(gate_up_T2F: NDArray, alpha: float, limit: float) -> NDArray:
    """The clamped, gated activation: (T, 2F) to (T, F).

    Examples
    --------
    >>> swiglu(np.array([[10.0, -9.0]]), alpha=1.702, limit=7.0).round(3)
    array([[-42.]])
    """
    gate_TF = np.minimum(gate_up_T2F[:, 0::2], limit)
    up_TF = np.clip(gate_up_T2F[:, 1::2], -limit, limit)
    with np.errstate(over="ignore"):  # exp overflows to infinity where the sigmoid is 0
        sigmoid_TF = 1 / (1 + np.exp(-alpha * gate_TF))
    return gate_TF * sigmoid_TF * (up_TF + 1)


@kernels.twin
def expert(x_TD: NDArray, weights: ExpertWeights, index: int, alpha: float, limit: float) -> NDArray:
    """Expert number ``index`` on some tokens: (T, D) to (T, D). Other arguments are as in `mix_experts`."""
    gate_up_T2F = linear(x_TD, Linear(weights.gate_up[index], weights.gate_up_bias[index]))
    activation_TF = swiglu(gate_up_T2F, alpha, limit)
    return linear(activation_TF, Linear(weights.down[index], weights.down_bias[index]))


@kernels.twin
def mix_experts(x_TD: NDArray, routing: Routing, weights: ExpertWeights, alpha: float, limit: float) -> NDArray:
    """Run every token through its active experts and add up their weighted results.

    Parameters
    ----------
    x_TD : float32 or float64, (T, D), normalised
    routing : the router's choice
    weights : the layer's experts
    alpha, limit : ``swiglu_alpha`` and ``swiglu_limit``

    Returns
    -------
    (T, D), of the type of ``x_TD``
    """
    y_TD = np.zeros_like(x_TD)
    for index in np.unique(routing.expert_TA):
        # N tokens chose this expert, each in one of its A slots.
        token_N, slot_N = np.nonzero(routing.expert_TA == index)
        result_ND = expert(x_TD[token_N], weights, index, alpha, limit)
        y_TD[token_N] += routing.weight_TA[token_N, slot_N, None] * result_ND
    return y_TD
