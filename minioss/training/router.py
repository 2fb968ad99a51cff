"""The router, backward, and the loss that keeps all experts in use.

    w = softmax(r[S])        S, the active experts, is a choice and has no derivative

    dr[S] = w · (dw - Σ w · dw), and 0 for the experts that were not chosen

Left alone, a router comes to send every token to a few experts. The load-balancing loss of a
layer is smallest, 1, where the experts' shares are equal:

    L = E Σ_e f[e] P[e]        f[e] = share of the T A places that went to expert e
                               P[e] = mean over tokens of p[t, e], p = softmax over **all** logits
    dr[t, e] = E / T · p[t, e] (f[e] - Σ_e' f[e'] p[t, e'])

f is counted and has no derivative. p runs over all experts though w does not, so that a logit
below the chosen ones is moved as well.

Source: Fedus et al., "Switch Transformers" (2021), eqs. 4 to 6, for A = 1; with A places a token
as in transformers, ``load_balancing_loss_func``, which counts them all (A times this).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minioss.linear import Linear
from minioss.router import Routing, softmax, top_k
from minioss.training import linear


class Saved(NamedTuple):
    """What the backward pass needs."""

    x_TD: NDArray
    logits_TE: NDArray
    routing: Routing
    weights: Linear


def forward(x_TD: NDArray, weights: Linear, num_experts_per_tok: int) -> tuple[Routing, Saved]:
    """As `minioss.router.route`."""
    logits_TE = linear.forward(x_TD, weights)
    expert_TA = top_k(logits_TE, num_experts_per_tok)
    routing = Routing(expert_TA, softmax(np.take_along_axis(logits_TE, expert_TA, axis=-1)))
    return routing, Saved(x_TD, logits_TE, routing, weights)


def backward(dweight_TA: NDArray, dlogits_TE: NDArray, saved: Saved) -> tuple[NDArray, Linear]:
    """dx (T, D), and dW and db.

    Parameters
    ----------
    dweight_TA : of the routing's weights
    dlogits_TE : what reaches the logits by another way: of `load_balance`, or zero
    """
    expert_TA, weight_TA = saved.routing
    chosen_TA = weight_TA * (dweight_TA - np.vecdot(weight_TA, dweight_TA)[:, None])
    total_TE = dlogits_TE.copy()
    total_TE[np.arange(len(total_TE))[:, None], expert_TA] += chosen_TA
    return linear.backward(total_TE, saved.x_TD, saved.weights)


def load_balance(saved: Saved) -> tuple[float, NDArray]:
    """The load-balancing loss of a layer, and its dr (T, E)."""
    T, E = saved.logits_TE.shape
    probability_TE = softmax(saved.logits_TE)
    share_E = np.bincount(saved.routing.expert_TA.ravel(), minlength=E) / saved.routing.expert_TA.size
    share_E = share_E.astype(probability_TE.dtype)
    mean_T1 = (probability_TE @ share_E)[:, None]
    return float(E * mean_T1.mean()), probability_TE * (share_E - mean_T1) * (E / T)
