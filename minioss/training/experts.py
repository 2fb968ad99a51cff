"""The experts, backward.

    gate, up = x W₁ᵀ + b₁, rows 0::2 and 1::2        g = min(gate, limit)    u = clip(up, ±limit)
    s = σ(α g)        a = g s (u + 1)        y = Σ w (a W₂ᵀ + b₂) over a token's experts

with z = dy W₂ for each of a token's experts:

    dw  = z · a + dy · b₂                             (sums over F and over D)
    dW₂ = Σ_t w dyᵀ a          db₂ = Σ_t w dy         da = w z
    du  = da g s                                      where |up| < limit, else 0
    dg  = da (u + 1) s (1 + α g (1 - s))              where gate < limit, else 0
    dW₁, db₁ and dx as of any linear map, dx summed over a token's experts

Source: the derivative of `minioss.experts`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minioss.experts import ExpertWeights
from minioss.router import Routing


class Activation(NamedTuple):
    """Of one expert: the clamped gate, its sigmoid σ(α gate), and the clamped up."""

    gate_NF: NDArray
    sigmoid_NF: NDArray
    up_NF: NDArray


class SavedExpert(NamedTuple):
    """What the backward pass needs of an expert and its N tokens.

    ``place_N`` says where they stand in the list of all T A pairs of a token and one of its experts.
    """

    place_N: NDArray[np.intp]
    x_ND: NDArray
    weight_N1: NDArray
    activation: Activation


def forward(
    x_TD: NDArray, routing: Routing, weights: ExpertWeights, alpha: float, limit: float
) -> tuple[NDArray, list[SavedExpert]]:
    """As `minioss.experts.mix_experts`."""
    A, experts = routing.expert_TA.shape[1], len(weights.down)
    ends = np.cumsum(np.bincount(routing.expert_TA.ravel(), minlength=experts))[:-1]
    places = np.split(np.argsort(routing.expert_TA.ravel(), kind="stable"), ends)
    y_TD, saved = np.zeros_like(x_TD), []
    for index, place_N in enumerate(places):
        x_ND, weight_N1 = x_TD[place_N // A], routing.weight_TA.reshape(-1, 1)[place_N]
        activation = activate(x_ND, weights, index, alpha, limit)
        y_ND = activated(activation) @ weights.down[index].T
        y_ND += weights.down_bias[index]
        y_ND *= weight_N1
        y_TD[place_N // A] += y_ND
        saved.append(SavedExpert(place_N, x_ND, weight_N1, activation))
    return y_TD, saved


def backward(
    dy_TD: NDArray, saved: list[SavedExpert], weights: ExpertWeights, alpha: float, limit: float
) -> tuple[NDArray, NDArray, ExpertWeights]:
    """dx (T, D), dw (T, A), and the gradients of the weights."""
    dweight_P = np.empty(sum(len(part.place_N) for part in saved), dy_TD.dtype)
    A = len(dweight_P) // len(dy_TD)
    dx_TD, gradients = np.zeros_like(dy_TD), ExpertWeights(*map(np.empty_like, weights))
    for index, part in enumerate(saved):
        dy_ND = dy_TD[part.place_N // A]
        dweight_P[part.place_N], da_NF = backward_down(dy_ND, part, weights, gradients, index)
        dgate_NF, dup_NF = backward_swiglu(da_NF, part.activation, alpha, limit)
        dx_TD[part.place_N // A] += backward_gate_up(dgate_NF, dup_NF, part.x_ND, weights, gradients, index)
    return dx_TD, dweight_P.reshape(-1, A), gradients


def activate(x_ND: NDArray, weights: ExpertWeights, index: int, alpha: float, limit: float) -> Activation:
    """One expert up to its activation, in parts."""
    gate_NF = x_ND @ weights.gate_up[index, 0::2].T
    gate_NF += weights.gate_up_bias[index, 0::2]
    np.minimum(gate_NF, limit, out=gate_NF)
    up_NF = x_ND @ weights.gate_up[index, 1::2].T
    up_NF += weights.gate_up_bias[index, 1::2]
    np.clip(up_NF, -limit, limit, out=up_NF)
    sigmoid_NF = gate_NF * -alpha
    with np.errstate(over="ignore"):  # exp overflows to infinity where the sigmoid is 0
        np.exp(sigmoid_NF, out=sigmoid_NF)
    sigmoid_NF += 1
    np.reciprocal(sigmoid_NF, out=sigmoid_NF)
    return Activation(gate_NF, sigmoid_NF, up_NF)


def activated(activation: Activation) -> NDArray:
    """a, out of its parts."""
    a_NF = activation.up_NF + 1
    a_NF *= activation.gate_NF
    a_NF *= activation.sigmoid_NF
    return a_NF


def backward_down(
    dy_ND: NDArray, saved: SavedExpert, weights: ExpertWeights, gradients: ExpertWeights, index: int
) -> tuple[NDArray, NDArray]:
    """dw (N,) and da (N, F) of one expert; its dW₂ and db₂ go to ``gradients``."""
    a_NF, z_NF = activated(saved.activation), dy_ND @ weights.down[index]
    dweight_N = np.vecdot(z_NF, a_NF) + dy_ND @ weights.down_bias[index]
    dy_ND *= saved.weight_N1
    np.matmul(dy_ND.T, a_NF, out=gradients.down[index])
    dy_ND.sum(axis=0, out=gradients.down_bias[index])
    z_NF *= saved.weight_N1
    return dweight_N, z_NF


def backward_swiglu(da_NF: NDArray, activation: Activation, alpha: float, limit: float) -> tuple[NDArray, NDArray]:
    """dgate and dup, (N, F) each."""
    gate_NF, sigmoid_NF, up_NF = activation
    swish_NF = gate_NF * sigmoid_NF
    dup_NF = da_NF * swish_NF
    dup_NF *= np.abs(up_NF) < limit
    dgate_NF = np.subtract(gate_NF, swish_NF, out=swish_NF)  # g (1 - s)
    dgate_NF *= alpha
    dgate_NF += 1
    dgate_NF *= sigmoid_NF
    dgate_NF *= up_NF + 1
    dgate_NF *= da_NF
    dgate_NF *= gate_NF < limit
    return dgate_NF, dup_NF


def backward_gate_up(
    dgate_NF: NDArray, dup_NF: NDArray, x_ND: NDArray, weights: ExpertWeights, gradients: ExpertWeights, index: int
) -> NDArray:
    """dx (N, D) of one expert; its dW₁ and db₁ go to ``gradients``."""
    for first, d_NF in enumerate((dgate_NF, dup_NF)):
        np.matmul(d_NF.T, x_ND, out=gradients.gate_up[index, first::2])
        d_NF.sum(axis=0, out=gradients.gate_up_bias[index, first::2])
    dx_ND = dgate_NF @ weights.gate_up[index, 0::2]
    dx_ND += dup_NF @ weights.gate_up[index, 1::2]
    return dx_ND
