"""Mistakes in the router: its logits, the choice, the weights of the chosen."""

import numpy as np

from minioss import bfloat16
from minioss.linear import decode, product
from minioss.router import Routing, softmax
from minioss.verify.faults.attention import without_bias
from minioss.verify.faults.catalogue import mistake

SOFTMAX = "The A largest logits are chosen first, and the softmax is over these alone."


def _logits(x_TD, weights):
    return product(x_TD, weights.weight) + decode(weights.bias, x_TD.dtype)


def _of_chosen(values_TE, routing):
    return np.take_along_axis(values_TE, routing.expert_TA, axis=-1)


@mistake("router.route", official=SOFTMAX)
def router_softmax_over_all(right, x_TD, weights, count):
    """The softmax is over all experts, and the chosen weights are not brought to sum to 1."""
    routing = right(x_TD, weights, count)
    return routing._replace(weight_TA=_of_chosen(softmax(_logits(x_TD, weights)), routing))


@mistake("router.route", official=SOFTMAX)
def router_softmax_twice(right, x_TD, weights, count):
    """The chosen weights of a softmax over all experts go through another softmax."""
    routing = right(x_TD, weights, count)
    return routing._replace(weight_TA=softmax(_of_chosen(softmax(_logits(x_TD, weights)), routing)))


@mistake("router.route", official=SOFTMAX)
def router_sigmoid(right, x_TD, weights, count):
    """Each chosen expert counts by the sigmoid of its logit."""
    routing = right(x_TD, weights, count)
    return routing._replace(weight_TA=1 / (1 + np.exp(-_of_chosen(_logits(x_TD, weights), routing))))


@mistake("linear.exact_linear", official="The router's map has a bias.")
def router_bias_missing(right, x_TD, weights):
    """The bias of the router is left out."""
    return right(x_TD, without_bias(weights))


@mistake("router.route", official="The bias is in the logits, for the choice and for the weights.")
def router_bias_in_choice_only(right, x_TD, weights, count):
    """The bias helps to choose the experts, but not to weigh them."""
    routing = right(x_TD, weights, count)
    return routing._replace(weight_TA=softmax(_of_chosen(_logits(x_TD, without_bias(weights)), routing)))


@mistake("router.route", official=SOFTMAX)
def router_weights_equal(right, x_TD, weights, count):
    """All chosen experts count alike."""
    routing = right(x_TD, weights, count)
    return routing._replace(weight_TA=np.full_like(routing.weight_TA, 1 / count))


@mistake("router.route", official="`num_experts_per_tok` experts run.")
def router_one_expert_short(right, x_TD, weights, count):
    """One expert too few runs: the last chosen one has no weight."""
    routing = right(x_TD, weights, count)
    weight_TA = routing.weight_TA.copy()
    weight_TA[:, -1] = 0
    return routing._replace(weight_TA=weight_TA / weight_TA.sum(axis=-1, keepdims=True))


@mistake("router.route", official="Each weight stays with its expert.")
def router_weights_reversed(right, x_TD, weights, count):
    """The weights meet the chosen experts in the opposite order."""
    routing = right(x_TD, weights, count)
    return routing._replace(weight_TA=routing.weight_TA[:, ::-1])


@mistake("router.route", official="Expert ids count from 0.")
def router_index_shifted(right, x_TD, weights, count):
    """Every chosen expert is the one after."""
    routing = right(x_TD, weights, count)
    return routing._replace(expert_TA=(routing.expert_TA + 1) % weights.weight.shape[0])


@mistake("router.route", official="Only chosen experts run.", seen="transformers PR40545")
def router_index_zero(right, x_TD, weights, count):
    """Expert 0 runs in place of the last chosen one, unless it was chosen itself."""
    expert_TA, weight_TA = right(x_TD, weights, count)
    expert_TA = expert_TA.copy()
    expert_TA[(expert_TA != 0).all(axis=-1), -1] = 0
    return Routing(expert_TA, weight_TA)


@mistake("linear.exact_linear", official="Top-k order is that of the logits as they are computed.")
def router_logits_bfloat16(right, x_TD, weights):
    """The router's logits are rounded to bfloat16 before the choice."""
    logits_TE = right(x_TD, weights)
    return bfloat16.decode(bfloat16.encode(logits_TE.astype(np.float32)), logits_TE.dtype)
