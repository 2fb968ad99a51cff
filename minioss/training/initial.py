"""The weights that training starts from."""

import math

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minioss.attention import AttentionWeights
from minioss.config import Config
from minioss.experts import ExpertWeights
from minioss.linear import Linear
from minioss.transformer import LayerWeights, Weights


def initial(config: Config, seed: int, dtype: DTypeLike = np.float32) -> Weights:
    """Normal random weights: a product of unit-sized inputs has unit size, and a layer adds little at first.

    Gains are 1, biases and sinks 0. The two maps that end in the residual stream are smaller by
    sqrt(2 L), so that the stream does not grow with the number of layers. (Radford et al., GPT-2, 2019.)

    Parameters
    ----------
    config : the model's shape
    seed : which random weights
    dtype : float32 or float64
    """
    random = np.random.default_rng([seed, 0])
    D, F, E = config.hidden_size, config.intermediate_size, config.num_local_experts
    n, K = config.num_attention_heads, config.head_dim
    into_the_stream = 1 / math.sqrt(2 * config.num_hidden_layers)

    def normal(*shape: int, scale: float = 1.0) -> NDArray:
        return (scale / math.sqrt(shape[-1]) * random.standard_normal(shape)).astype(dtype)

    def linear(outputs: int, inputs: int, scale: float = 1.0) -> Linear:
        return Linear(normal(outputs, inputs, scale=scale), np.zeros(outputs, dtype))

    def layer() -> LayerWeights:
        key_rows = config.num_key_value_heads * K
        maps = linear(n * K, D), linear(key_rows, D), linear(key_rows, D), linear(D, n * K, into_the_stream)
        experts = ExpertWeights(
            normal(E, 2 * F, D),
            np.zeros((E, 2 * F), dtype),
            normal(E, D, F, scale=into_the_stream),
            np.zeros((E, D), dtype),
        )
        gain = np.ones(D, dtype)
        return LayerWeights(gain, AttentionWeights(*maps, np.zeros(n, dtype)), gain.copy(), linear(E, D), experts)

    layers = [layer() for _ in range(config.num_hidden_layers)]
    V = config.vocab_size
    return Weights(normal(V, D, scale=math.sqrt(D)), layers, np.ones(D, dtype), normal(V, D))
