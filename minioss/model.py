"""The transformer: embedding, layers, unembedding.

    x = E[tokens]
    x = x + attention(rms_norm(x))     ┐ for each
    x = x + mix_experts(rms_norm(x))   ┘ layer
    logits = rms_norm(x) Uᵀ

Several prompts are one long T: the linear maps, norms, router and experts see all tokens at
once, and attention alone goes prompt by prompt. Long prompts go in pieces, so that memory
does not grow with the square of their length.

Source: gpt_oss/torch/model.py, ``TransformerBlock`` and ``Transformer``.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from minioss import kernels as seam
from minioss.attention import AttentionWeights, Span, attention
from minioss.cache import Cache
from minioss.config import Config
from minioss.errors import InputError, NotFiniteError
from minioss.experts import ExpertWeights, expert, mix_experts
from minioss.linear import Linear, Weight, decode, matmul
from minioss.rmsnorm import rms_norm
from minioss.rope import Rotation, rotation
from minioss.router import Routing, route

TOKENS_PER_PIECE = 512

Progress = Callable[[int, int], None]


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


@dataclass(frozen=True)
class Model:
    """A gpt-oss model that can be called.

    Parameters
    ----------
    config : its shape
    weights : its weights, on disk or in memory
    dtype : float32 or float64, the type of all activations
    kernels : "numpy", "cython", or None for Cython where it is built
    stop_tokens : ids that end a text
    """

    config: Config
    weights: Weights
    dtype: DTypeLike = "float32"
    kernels: str | None = None
    stop_tokens: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.dtype not in (np.float32, np.float64, "float32", "float64"):
            raise InputError(f"dtype is {self.dtype!r}; expected 'float32' or 'float64'")
        seam.choose(self.kernels, self.dtype)

    def new_cache(self) -> Cache:
        """An empty cache for one prompt."""
        return Cache(self.config, self.dtype)

    def __call__(
        self,
        token_ids: ArrayLike,
        cache: Cache | None = None,
        logits: Literal["all", "last"] = "all",
        progress: Progress | None = None,
    ) -> NDArray:
        """Logits of the token that follows each token.

        Parameters
        ----------
        token_ids : integers, (T,), at least one
        cache : what came before; it is extended by these tokens
        logits : "all" positions, or the "last" alone
        progress : called with (layers done, layers in all) after each layer of each piece

        Returns
        -------
        (T, V), or (1, V) for "last", of the model's dtype

        Raises
        ------
        InputError
            Where there is no token, one is not in the vocabulary, or the context is too short.
        NotFiniteError
            Where a layer gives NaN or infinity.
        """
        if logits not in ("all", "last"):
            raise InputError(f"logits is {logits!r}; expected 'all' or 'last'")
        return self.batch([token_ids], [cache], logits, progress)[0]

    def batch(
        self,
        prompts: Sequence[ArrayLike],
        caches: Sequence[Cache | None],
        logits: Literal["all", "last"] = "last",
        progress: Progress | None = None,
    ) -> list[NDArray]:
        """As calling the model on each prompt with its own cache, but in one pass over the weights."""
        caches = self.checked_caches(caches, len(prompts))
        prompts = [checked(ids, cache, self.config) for ids, cache in zip(prompts, caches, strict=True)]
        # Overflow needs no warning: every layer's output is checked for NaN and infinity.
        with seam.using(seam.choose(self.kernels, self.dtype)), np.errstate(over="ignore", invalid="ignore"):
            hidden = hidden_states(self, prompts, caches, logits, progress)
            return np.split(unembed(self, np.concatenate(hidden)), np.cumsum([len(x) for x in hidden])[:-1])

    def checked_caches(self, caches: Sequence[Cache | None], count: int) -> list[Cache]:
        """One cache a prompt, new where there is None, or an `InputError` that says what is wrong with them."""
        if len(caches) != count or count == 0:
            raise InputError(f"there are {count} prompts and {len(caches)} caches; expected at least one, and as many")
        caches = [self.new_cache() if cache is None else cache for cache in caches]
        if len(set(map(id, caches))) < count:
            raise InputError("two prompts have the same cache; expected one each")
        for cache in caches:
            if (cache.config, cache.dtype) != (self.config, np.dtype(self.dtype)):
                raise InputError(
                    f"the cache ({cache.dtype}) is of another model; expected one of this model's new_cache()"
                )
        return caches


def checked(token_ids: ArrayLike, cache: Cache, config: Config) -> NDArray[np.integer]:
    """The token ids of one prompt as an array, or an `InputError` that says what is wrong with them."""
    ids_T = np.asarray(token_ids)
    if ids_T.ndim != 1 or ids_T.size == 0:
        raise InputError(f"the prompt has shape {ids_T.shape}; expected (T,) with at least one token")
    if not np.issubdtype(ids_T.dtype, np.integer):
        raise InputError(f"the token ids are {ids_T.dtype}; expected integers")
    outside = np.flatnonzero((ids_T < 0) | (ids_T >= config.vocab_size))
    if outside.size:
        position = outside[0]
        raise InputError(f"token {position} of the prompt is {ids_T[position]}; expected 0 to {config.vocab_size - 1}")
    if cache.length + len(ids_T) > config.max_position_embeddings:
        raise InputError(
            f"the text would be {cache.length + len(ids_T)} tokens long; "
            f"expected at most max_position_embeddings = {config.max_position_embeddings}"
        )
    return ids_T


def pieces(prompts: Sequence[NDArray]) -> Iterator[list[slice]]:
    """Cut all prompts alike into pieces that together have about `TOKENS_PER_PIECE` tokens."""
    step = max(1, TOKENS_PER_PIECE // len(prompts))
    for first in range(0, max(map(len, prompts)), step):
        yield [slice(first, min(first + step, len(ids))) for ids in prompts]


def hidden_states(
    model: Model, prompts: Sequence[NDArray], caches: Sequence[Cache], keep: str, progress: Progress | None
) -> list[NDArray]:
    """The last layer's output, (T, D) a prompt: of "all" its tokens or of its "last" alone."""
    kept: list[list[NDArray]] = [[] for _ in prompts]
    cuts = list(pieces(prompts))
    total = len(cuts) * model.config.num_hidden_layers
    done = itertools.count(1)
    for cut in cuts:
        live = [index for index, piece in enumerate(cut) if piece.start < piece.stop]
        tokens = [prompts[index][cut[index]] for index in live]
        outputs = forward(
            model,
            tokens,
            [caches[index] for index in live],
            on_layer=lambda: progress(next(done), total) if progress else None,
        )
        for index, x_TD in zip(live, outputs, strict=True):
            kept[index] = [*kept[index], x_TD] if keep == "all" else [x_TD[-1:]]
    return [np.concatenate(parts) for parts in kept]


def forward(
    model: Model, tokens: Sequence[NDArray], caches: Sequence[Cache], on_layer: Callable[[], None]
) -> list[NDArray]:
    """Run one piece of every prompt through all layers: (T, D) a prompt."""
    ends = np.cumsum([len(ids) for ids in tokens])
    spans = [Span(slice(end - len(ids), end), cache) for ids, end, cache in zip(tokens, ends, caches, strict=True)]
    positions_T = np.concatenate(
        [np.arange(cache.length, cache.length + len(ids)) for ids, cache in zip(tokens, caches, strict=True)]
    )
    turn = rotation(positions_T, model.config.rope, model.config.head_dim, model.dtype)
    x_TD = decode(model.weights.embedding[np.concatenate(tokens)], model.dtype)
    for index, weights in enumerate(model.weights.layers):
        x_TD = layer(x_TD, weights, index, model.config, turn, spans)
        on_layer()
    for ids, cache in zip(tokens, caches, strict=True):
        cache.commit(len(ids))
    return [x_TD[span.tokens] for span in spans]


def layer(
    x_TD: NDArray, weights: LayerWeights, index: int, config: Config, turn: Rotation, spans: Sequence[Span]
) -> NDArray:
    """One layer: attention, then experts, each added to what came in."""
    eps, alpha, limit = config.rms_norm_eps, config.swiglu_alpha, config.swiglu_limit
    normed_TD = rms_norm(x_TD, decode(weights.attention_norm, x_TD.dtype), eps)
    x_TD = x_TD + attention(normed_TD, weights.attention, index, turn, spans)
    normed_TD = rms_norm(x_TD, decode(weights.experts_norm, x_TD.dtype), eps)
    routing = route(normed_TD, weights.router, config.num_experts_per_tok)
    y_TD = x_TD + mix_experts(normed_TD, routing, weights.experts, alpha, limit)
    if not np.isfinite(y_TD).all():
        raise NotFiniteError(f"layer {index}: {not_finite(x_TD, normed_TD, routing, weights.experts, config)}")
    return y_TD


def not_finite(x_TD: NDArray, normed_TD: NDArray, routing: Routing, weights: ExpertWeights, config: Config) -> str:
    """Which part of a layer gave NaN or infinity: the attention, an expert, or several."""
    if not np.isfinite(x_TD).all():
        return "the attention gave NaN or infinity"
    guilty = [
        str(index)
        for index in np.unique(routing.expert_TA)
        if not np.isfinite(
            expert(
                normed_TD[(routing.expert_TA == index).any(axis=-1)],
                weights,
                index,
                config.swiglu_alpha,
                config.swiglu_limit,
            )
        ).all()
    ]
    if not guilty:
        return f"the sum of the experts is beyond {normed_TD.dtype}"
    return f"expert {', '.join(guilty)} gave NaN or infinity (`minioss info FOLDER --check` reads every weight)"


def unembed(model: Model, x_TD: NDArray) -> NDArray:
    """Logits over the vocabulary: (T, D) to (T, V)."""
    normed_TD = rms_norm(x_TD, decode(model.weights.norm, model.dtype), model.config.rms_norm_eps)
    logits_TV = matmul(normed_TD, model.weights.unembedding)
    if not np.isfinite(logits_TV).all():
        raise NotFiniteError("the unembedding gave NaN or infinity")
    return logits_TV
