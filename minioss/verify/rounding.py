"""The official codes' rounding: the reference with every step rounded where bfloat16 codes round theirs.

    norms, q, k, v, cos and sin, each product and sum of RoPE, q · k, the scaled scores, the softmax,
    the mixed values, the output map, the residuals, the router's logits and weights, each map of an
    expert before and after its bias, each step of the SwiGLU, the weighted sum, the logits

Sums within a product are taken in float32. Only marked functions are wrapped; the blocks know nothing
of it. Some are replaced, so a fault comes inside the ``with``, not around it. The model's dtype must be
float32, and so are the results, of which every number is a bfloat16 number. The codes also take RoPE's angles in float32, which `float32_angles` does alone: far out in a
text that is most of what separates two right ports in float32.

Source: gpt_oss/torch/model.py; transformers, ``modeling_gpt_oss.py`` with eager attention and experts.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minioss import kernels
from minioss.attention import Span, attention, softmax_with_sink, visible
from minioss.config import Config, RopeConfig
from minioss.experts import ExpertWeights, expert, mix_experts, swiglu
from minioss.linear import decode, matmul
from minioss.precision import to_bfloat16 as r
from minioss.rmsnorm import rms_norm
from minioss.rope import Rotation
from minioss.router import Routing, route
from minioss.transformer import LayerWeights


def official() -> AbstractContextManager[None]:
    """A ``with`` in which the model rounds as OpenAI's torch code does in bfloat16."""
    return kernels.wrapping(OFFICIAL)


def transformers() -> AbstractContextManager[None]:
    """A ``with`` in which the model rounds as transformers does in bfloat16.

    It subtracts the largest score before the softmax, and adds up experts one by one, both in bfloat16.
    """
    return kernels.wrapping(OFFICIAL | TRANSFORMERS)


def float32_angles() -> AbstractContextManager[None]:
    """A ``with`` in which RoPE's frequencies, angles, cos and sin are float32, as in both codes."""
    return kernels.wrapping(ANGLES)


def _rounded(right: Callable, *given) -> NDArray:
    return r(right(*given))


def _frequencies(right: Callable, *given) -> NDArray:
    return right(*given).astype(np.float32)


def _angles(right: Callable, positions_T: NDArray, rope: RopeConfig, head_dim: int, dtype: DTypeLike) -> Rotation:
    return right(positions_T.astype(np.float32), rope, head_dim, dtype)


def _rotation(right: Callable, *given) -> Rotation:
    return Rotation(*map(r, _angles(right, *given)))


def _rotate(right: Callable, x_THK: NDArray, rotation: Rotation) -> NDArray:
    first, second = np.split(x_THK, 2, axis=-1)
    cos, sin = rotation.cos_Tk[:, None, :], rotation.sin_Tk[:, None, :]
    turned = r(first * cos) - r(second * sin), r(second * cos) + r(first * sin)
    return r(np.concatenate(turned, axis=-1))


def _attend_block(
    right: Callable, query_TnK: NDArray, key_SHK: NDArray, value_SHK: NDArray, sinks_n: NDArray, window: int | None
) -> NDArray:
    T, (S, H, K) = len(query_TnK), key_SHK.shape
    query_HGTK = query_TnK.reshape(T, H, -1, K).transpose(1, 2, 0, 3)
    scores_HGTS = r(r(query_HGTK @ key_SHK.transpose(1, 2, 0)[:, None]) * np.float32(1 / math.sqrt(K)))
    scores_HGTS[:, :, ~visible(T, S, window)] = -np.inf
    weights_HGTS = softmax_with_sink(scores_HGTS, sinks_n.reshape(H, -1, 1, 1))
    mixed_HGTK = r(weights_HGTS @ value_SHK.transpose(1, 0, 2)[:, None])
    return mixed_HGTK.transpose(2, 0, 1, 3).reshape(query_TnK.shape)


def _softmax_of_rounded_differences(right: Callable, scores_HGTS: NDArray, sink_HG11: NDArray) -> NDArray:
    largest_HGT1 = np.maximum(scores_HGTS.max(axis=-1, keepdims=True), sink_HG11)
    return r(right(r(scores_HGTS - largest_HGT1), r(sink_HG11 - largest_HGT1)))


def _route(right: Callable, *given) -> Routing:
    routing = right(*given)
    return routing._replace(weight_TA=r(routing.weight_TA))


def _swiglu(right: Callable, gate_up_T2F: NDArray, alpha: float, limit: float) -> NDArray:
    gate_TF = r(np.minimum(gate_up_T2F[:, 0::2], limit))
    up_TF = r(np.clip(gate_up_T2F[:, 1::2], -limit, limit))
    with np.errstate(over="ignore"):
        sigmoid_TF = r(1 / (1 + np.exp(-r(alpha * gate_TF))))
    return r(r(gate_TF * sigmoid_TF) * r(up_TF + 1))


def _expert(right: Callable, x_TD: NDArray, weights: ExpertWeights, index: int, alpha: float, limit: float) -> NDArray:
    gate_up_T2F = r(r(matmul(x_TD, weights.gate_up[index])) + decode(weights.gate_up_bias[index], x_TD.dtype))
    activation_TF = swiglu(gate_up_T2F, alpha, limit)
    return r(r(matmul(activation_TF, weights.down[index])) + decode(weights.down_bias[index], x_TD.dtype))


def _mix_one_by_one(
    right: Callable, x_TD: NDArray, routing: Routing, weights: ExpertWeights, alpha: float, limit: float
) -> NDArray:
    y_TD = np.zeros_like(x_TD)
    for index in np.unique(routing.expert_TA):
        token_N, slot_N = np.nonzero(routing.expert_TA == index)
        result_ND = expert(x_TD[token_N], weights, index, alpha, limit)
        y_TD[token_N] = r(y_TD[token_N] + r(routing.weight_TA[token_N, slot_N, None] * result_ND))
    return y_TD


def _layer(
    right: Callable,
    x_TD: NDArray,
    weights: LayerWeights,
    index: int,
    config: Config,
    turn: Rotation,
    spans: Sequence[Span],
) -> NDArray:
    normed_TD = rms_norm(x_TD, decode(weights.attention_norm, x_TD.dtype), config.rms_norm_eps)
    x_TD = r(x_TD + attention(normed_TD, weights.attention, index, turn, spans))
    normed_TD = rms_norm(x_TD, decode(weights.experts_norm, x_TD.dtype), config.rms_norm_eps)
    routing = route(normed_TD, weights.router, config.num_experts_per_tok)
    return r(x_TD + mix_experts(normed_TD, routing, weights.experts, config.swiglu_alpha, config.swiglu_limit))


ANGLES = {"rope.inverse_frequencies": _frequencies, "rope.rotation": _angles}
OFFICIAL = {
    "rope.inverse_frequencies": _frequencies,
    "rope.rotation": _rotation,
    "rope.rotate": _rotate,
    "rmsnorm.rms_norm": _rounded,
    "linear.linear": _rounded,
    "linear.exact_linear": _rounded,
    "attention.attend_block": _attend_block,
    "attention.softmax_with_sink": _rounded,
    "router.route": _route,
    "experts.swiglu": _swiglu,
    "experts.expert": _expert,
    "experts.mix_experts": _rounded,
    "transformer.layer": _layer,
    "transformer.unembed": _rounded,
}
TRANSFORMERS = {
    "attention.softmax_with_sink": _softmax_of_rounded_differences,
    "experts.mix_experts": _mix_one_by_one,
}


class Rung(NamedTuple):
    """One way to compute in a precision."""

    precision: str
    activations: str
    rounding: Callable[[], AbstractContextManager[None]]


RUNGS = (
    Rung("float32", "float32", float32_angles),
    Rung("bfloat16", "float32", official),
    Rung("bfloat16", "float32", transformers),
    Rung("bfloat16", "bfloat16", nullcontext),
    Rung("int8", "int8", nullcontext),
)
FLOAT32, *COARSE = RUNGS
PRECISIONS = tuple(dict.fromkeys(rung.precision for rung in RUNGS))
