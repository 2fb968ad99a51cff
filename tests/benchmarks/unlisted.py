"""Ten mistakes that the catalogue does not have: for each the block that departs first, and the wrappers that make it."""

import numpy as np


def _window_three_wider(right, cache, layer):
    window = right(cache, layer)
    return None if window is None else window + 3


def _sinks_doubled(right, query_TnK, key_SHK, value_SHK, sinks_n, window):
    return right(query_TnK, key_SHK, value_SHK, 2 * sinks_n, window)


def _scores_soft_capped(right, scores_HGTS, sink_HG11):
    finite = np.isfinite(scores_HGTS)
    return right(np.where(finite, 5 * np.tanh(np.where(finite, scores_HGTS, 0) / 5), scores_HGTS), sink_HG11)


def _values_normalised(right, x_TD, weights, K):
    query, key, value = right(x_TD, weights, K)
    return query, key, value / np.sqrt(np.mean(value**2, axis=-1, keepdims=True) + value.dtype.type(1e-6))


def _base_500000(right, rope, head_dim):
    return right(rope, head_dim) * (150000 / 500000) ** (2 * np.arange(head_dim // 2) / head_dim)


def _weights_squared(right, *given):
    routing = right(*given)
    squares = routing.weight_TA**2
    return routing._replace(weight_TA=squares / squares.sum(axis=-1, keepdims=True))


def _last_choice_is_the_next_best(right, logits_TE, k):
    chosen = right(logits_TE, k + 1)
    return np.delete(chosen, k - 1, axis=1)


def _up_negated(right, gate_up_T2F, *given):
    sign = np.where(np.arange(gate_up_T2F.shape[1]) % 2, -1, 1).astype(gate_up_T2F.dtype)
    return right(gate_up_T2F * sign, *given)


def _largest_instead_of_root_mean_square(right, x_TD, gain_D, eps):
    return (x_TD / np.abs(x_TD).max(axis=-1, keepdims=True) * 2 * gain_D).astype(x_TD.dtype)


def _logits_at_temperature(right, *given):
    return right(*given) / np.float32(1.1)


UNLISTED = {
    "a window three tokens wider": ("attention", {"cache.Cache.window": _window_three_wider}),
    "sinks doubled": ("attention", {"attention.attend_block": _sinks_doubled}),
    "scores bent by tanh": ("attention", {"attention.softmax_with_sink": _scores_soft_capped}),
    "values normalised": ("attention", {"attention.project": _values_normalised}),
    "RoPE's base 500000": ("rope", {"rope.inverse_frequencies": _base_500000}),
    "router weights squared": ("router", {"router.route": _weights_squared}),
    "the last choice passed over": ("router", {"router.top_k": _last_choice_is_the_next_best}),
    "up negated": ("experts", {"experts.swiglu": _up_negated}),
    "the largest number for the root mean square": (
        "norms",
        {"rmsnorm.rms_norm": _largest_instead_of_root_mean_square},
    ),
    "logits divided by 1.1": ("head", {"transformer.unembed": _logits_at_temperature}),
}
