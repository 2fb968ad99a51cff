"""The whole model: the loss of a batch, and the gradient of every weight.

    loss = Σ_t m[t] (cross-entropy of target[t]) + balance · (mean over layers of the load-balancing loss)

A residual, y = x + f(norm(x)), passes dy on twice: as it is, and through f and the norm.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minioss.config import Config
from minioss.rope import rotation
from minioss.training import attention, embedding, experts, loss, rmsnorm, rope, router
from minioss.transformer import LayerWeights, Weights


class Batch(NamedTuple):
    """T tokens, what should follow each, and how much that counts in the loss; and the N sequences' lengths.

    The sequences lie one after the other. A token sees none but those before it in its own.
    """

    token_T: NDArray[np.integer]
    target_T: NDArray[np.integer]
    weight_T: NDArray[np.floating]
    length_N: NDArray[np.integer]


class Losses(NamedTuple):
    """Cross-entropy, in nats, as the batch weighs it; and the load-balancing loss, 1 at its best."""

    cross_entropy: float
    balance: float


class SavedLayer(NamedTuple):
    """What a layer's backward pass needs, block by block."""

    attention_norm: rmsnorm.Saved
    attention: attention.Saved
    experts_norm: rmsnorm.Saved
    router: router.Saved
    experts: list[experts.SavedExpert]


def loss_and_gradients(weights: Weights, batch: Batch, config: Config, balance: float = 0.0) -> tuple[Losses, Weights]:
    """The losses of a batch and the gradients of all weights.

    Parameters
    ----------
    weights : plain arrays, float32 or float64, which is the type of everything
    batch : the sequences; their weights usually sum to 1
    config : the model's shape
    balance : the factor of the load-balancing loss

    Returns
    -------
    losses : without the factor
    gradients : of the same shapes as ``weights``
    """
    x_TD, turn_T1k, layers = forward(weights, batch, config)
    normed_TD, norm = rmsnorm.forward(x_TD, weights.norm, config.rms_norm_eps)
    weight_T = batch.weight_T.astype(x_TD.dtype, copy=False)
    cross_entropy, dnormed_TD, dunembedding_VD = loss.unembed(normed_TD, weights.unembedding, batch.target_T, weight_T)
    dx_TD, dnorm_D = rmsnorm.backward(dnormed_TD, norm)
    balances, gradients = [], []
    for saved, of_layer in zip(reversed(layers), reversed(weights.layers)):
        of_balance, dlogits_TE = router.load_balance(saved.router)
        dlogits_TE *= balance / len(layers)
        dx_TD, gradient = backward_layer(dx_TD, dlogits_TE, saved, of_layer, config, turn_T1k)
        balances.append(of_balance)
        gradients.append(gradient)
    dembedding_VD = embedding.backward(dx_TD, batch.token_T, config.vocab_size)
    losses = Losses(cross_entropy, sum(balances) / len(balances))
    return losses, Weights(dembedding_VD, gradients[::-1], dnorm_D, dunembedding_VD)


def forward(weights: Weights, batch: Batch, config: Config) -> tuple[NDArray, NDArray, list[SavedLayer]]:
    """The last layer's output (T, D), each token's rotation, and what the layers save."""
    x_TD = embedding.forward(batch.token_T, weights.embedding)
    position_T = np.concatenate([np.arange(length) for length in batch.length_N])
    turn_T1k = rope.turns(rotation(position_T, config.rope, config.head_dim, x_TD.dtype))
    layers = []
    for index, of_layer in enumerate(weights.layers):
        x_TD, saved = forward_layer(x_TD, of_layer, config, turn_T1k, config.window(index), batch.length_N)
        layers.append(saved)
    return x_TD, turn_T1k, layers


def forward_layer(
    x_TD: NDArray,
    weights: LayerWeights,
    config: Config,
    turn_T1k: NDArray,
    window: int | None,
    length_N: NDArray[np.integer],
) -> tuple[NDArray, SavedLayer]:
    """As `minioss.transformer.layer`."""
    normed_TD, attention_norm = rmsnorm.forward(x_TD, weights.attention_norm, config.rms_norm_eps)
    y_TD, of_attention = attention.forward(normed_TD, weights.attention, turn_T1k, window, length_N)
    x_TD = x_TD + y_TD
    normed_TD, experts_norm = rmsnorm.forward(x_TD, weights.experts_norm, config.rms_norm_eps)
    routing, of_router = router.forward(normed_TD, weights.router, config.num_experts_per_tok)
    y_TD, of_experts = experts.forward(normed_TD, routing, weights.experts, config.swiglu_alpha, config.swiglu_limit)
    y_TD += x_TD
    return y_TD, SavedLayer(attention_norm, of_attention, experts_norm, of_router, of_experts)


def backward_layer(
    dy_TD: NDArray, dlogits_TE: NDArray, saved: SavedLayer, weights: LayerWeights, config: Config, turn_T1k: NDArray
) -> tuple[NDArray, LayerWeights]:
    """dx (T, D), and the gradients of the layer's weights."""
    dexperts_TD, dweight_TA, dexperts = experts.backward(
        dy_TD, saved.experts, weights.experts, config.swiglu_alpha, config.swiglu_limit
    )
    drouter_TD, drouter = router.backward(dweight_TA, dlogits_TE, saved.router)
    dnormed_TD, dexperts_norm_D = rmsnorm.backward(dexperts_TD + drouter_TD, saved.experts_norm)
    dx_TD = dy_TD + dnormed_TD
    dnormed_TD, dattention = attention.backward(dx_TD, saved.attention, weights.attention, turn_T1k)
    dnormed_TD, dattention_norm_D = rmsnorm.backward(dnormed_TD, saved.attention_norm)
    dx_TD += dnormed_TD
    return dx_TD, LayerWeights(dattention_norm_D, dattention, dexperts_norm_D, drouter, dexperts)
