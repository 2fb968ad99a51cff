"""The transformer: embedding, layers, unembedding.

    x = E[tokens]
    x = x + attention(rms_norm(x))     ┐ for each
    x = x + mix_experts(rms_norm(x))   ┘ layer
    logits = rms_norm(x) Uᵀ

E is the embedding and U the unembedding: a row of D numbers for each of the V tokens of the vocabulary. x is the
*residual stream*: every block reads it, and adds to it.

The tokens of several prompts are one long T: all blocks see them at once, and attention alone goes prompt by prompt.

Source: gpt_oss/torch/model.py, ``TransformerBlock`` and ``Transformer``.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minioss import kernels
from minioss.attention import AttentionWeights, Span, attention
from minioss.cache import Cache
from minioss.config import Config
from minioss.errors import NotFiniteError
from minioss.experts import ExpertWeights, mix_experts
from minioss.finite import culprit, finite
from minioss.linear import Linear, Weight, decode, matmul
from minioss.rmsnorm import rms_norm
from minioss.rope import Rotation, rotation
from minioss.router import route


class LayerWeights(NamedTuple):
    """One layer: two norms, attention, router, experts."""

    attention_norm: Weight  # (D,)
    attention: AttentionWeights
    experts_norm: Weight  # (D,)
    router: Linear  # (E, D)
    experts: ExpertWeights


class Weights(NamedTuple):
    """All weights of a model, as the checkpoint has them."""

    embedding: Weight  # (V, D)
    layers: Sequence[LayerWeights]
    norm: Weight  # (D,)
    unembedding: Weight  # (V, D)


def forward(
    prompts: Sequence[NDArray],
    caches: Sequence[Cache],
    weights: Weights,
    config: Config,
    dtype: DTypeLike,
    on_layer: Callable[[], None],
) -> list[NDArray]:
    """Run the next tokens of every prompt through all layers.

    Parameters
    ----------
    prompts : token ids, (T,) each
    caches : what each prompt has seen before; they are extended by these tokens
    weights, config : the model
    dtype : float32 or float64, the type of all activations
    on_layer : called after each layer

    Returns
    -------
    list of (T, D)
        The last layer's output for each prompt.

    Raises
    ------
    NotFiniteError
        Where the embedding or a layer gives NaN or infinity; the caches are then as before.
    """
    ends = np.cumsum([len(ids) for ids in prompts])
    spans = [Span(slice(end - len(ids), end), cache) for ids, end, cache in zip(prompts, ends, caches, strict=True)]
    starts = [cache.length for cache in caches]
    positions_T = np.concatenate([start + np.arange(len(ids)) for ids, start in zip(prompts, starts, strict=True)])
    turn = rotation(positions_T, config.rope, config.head_dim, dtype)
    x_TD = embed(np.concatenate(prompts), weights, dtype)
    for index, layer_weights in enumerate(weights.layers):
        x_TD = layer(x_TD, layer_weights, index, config, turn, spans)
        on_layer()
    for ids, cache in zip(prompts, caches, strict=True):
        cache.commit(len(ids))
    return [x_TD[span.tokens] for span in spans]


@kernels.twin
def embed(ids_T: NDArray, weights: Weights, dtype: DTypeLike) -> NDArray:
    """The embedding's row of each token, as ``dtype``: (T, D)."""
    return finite(decode(weights.embedding[ids_T], dtype), "the embedding holds NaN or infinity")


@kernels.twin
def layer(
    x_TD: NDArray, weights: LayerWeights, index: int, config: Config, turn: Rotation, spans: Sequence[Span]
) -> NDArray:
    """Layer ``index``: attention, then experts, each added to x, (T, D). `NotFiniteError` where that is not finite."""
    normed_TD = rms_norm(x_TD, decode(weights.attention_norm, x_TD.dtype), config.rms_norm_eps)
    x_TD = x_TD + attention(normed_TD, weights.attention, index, turn, spans)
    normed_TD = rms_norm(x_TD, decode(weights.experts_norm, x_TD.dtype), config.rms_norm_eps)
    routing = route(normed_TD, weights.router, config.num_experts_per_tok)
    y_TD = x_TD + mix_experts(normed_TD, routing, weights.experts, config.swiglu_alpha, config.swiglu_limit)
    if not np.isfinite(y_TD).all():
        raise NotFiniteError(f"layer {index}: {culprit(x_TD, normed_TD, routing, weights.experts, config)}")
    return y_TD


@kernels.twin
def unembed(x_TD: NDArray, weights: Weights, config: Config) -> NDArray:
    """Logits over the vocabulary: (T, D) to (T, V). `NotFiniteError` where one is NaN or infinite."""
    normed_TD = rms_norm(x_TD, decode(weights.norm, x_TD.dtype), config.rms_norm_eps)
    return finite(matmul(normed_TD, weights.unembedding), "the unembedding gave NaN or infinity")
