"""The model: a transformer with its weights, to be called with token ids.

Long prompts go through in pieces, so that memory does not grow with the square of their length.

Source: gpt_oss/torch/model.py, ``Transformer``; Jiang et al., "Mistral 7B" (2023), section 2, for the pieces.
"""

import itertools
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from minioss import kernels as seam
from minioss import precision
from minioss.cache import Cache
from minioss.config import Config
from minioss.errors import InputError
from minioss.prompts import checked_prompts, pieces
from minioss.transformer import Weights, forward, unembed


class Progress(Protocol):
    """What may be called to tell how far a long call has come: ``done`` of ``total``."""

    def __call__(self, done: int, total: int) -> None: ...


@dataclass(frozen=True)
class Model:
    """A gpt-oss model that can be called.

    Parameters
    ----------
    config : its shape
    weights : its weights, on disk or in memory
    dtype : float32 or float64, the type of all activations
    kernels : "numpy", "cython", or None for Cython where it is built
    threads : how many the kernels use; None for MINIOSS_THREADS, or one a processor
    activations : "float32", "bfloat16" or "int8": the rung of the precision ladder (see `precision`)
    cache : "float32" to keep keys and values in the type of the activations, or "bfloat16" in half the memory
    stop_tokens : ids that end a text
    folder : where it was loaded from, and its tokenizer is; None for nowhere

    Raises
    ------
    InputError
        Where the type or the kernels are none of these, or do not go together.
    """

    config: Config
    weights: Weights
    dtype: DTypeLike = "float32"
    kernels: str | None = None
    threads: int | None = None
    activations: str = "float32"
    cache: str = "float32"
    stop_tokens: tuple[int, ...] = ()
    folder: Path | None = None

    def __post_init__(self) -> None:
        if self.dtype not in (np.float32, np.float64, "float32", "float64"):
            raise InputError(f"dtype is {self.dtype!r}; expected 'float32' or 'float64'")
        self.kernels_in_use()
        self.new_cache()  # refuses what does not go together

    def new_cache(self) -> Cache:
        """An empty cache for one prompt."""
        return Cache(self.config, self.dtype, self.cache)

    def kernels_in_use(self) -> AbstractContextManager[None]:
        """A ``with`` in which the marked functions run as in a call of this model."""
        return seam.using(precision.bindings(self.kernels, self.dtype, self.threads, self.activations))

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
        return self.batch([token_ids], [cache], logits, progress)[0]

    def batch(
        self,
        prompts: Sequence[ArrayLike],
        caches: Sequence[Cache | None],
        logits: Literal["all", "last"] = "last",
        progress: Progress | None = None,
    ) -> list[NDArray]:
        """What a call gives for each of ``prompts``, arguments and `InputError` as in `__call__`; reads the weights once."""
        if logits not in ("all", "last"):
            raise InputError(f"logits is {logits!r}; expected 'all' or 'last'")
        texts = self.checked(prompts, caches)
        # Overflow needs no warning: every layer's output is checked for NaN and infinity.
        with self.kernels_in_use(), np.errstate(over="ignore", invalid="ignore"):
            hidden = self._hidden_states(*zip(*texts, strict=True), logits, progress)
            logits_TV = unembed(np.concatenate(hidden), self.weights, self.config)
        return np.split(logits_TV, np.cumsum([len(x_TD) for x_TD in hidden])[:-1])

    def _hidden_states(
        self, prompts: Sequence[NDArray], caches: Sequence[Cache], keep: str, progress: Progress | None
    ) -> list[NDArray]:
        """The last layer's output, (T, D) a prompt: of "all" its tokens or of its "last" alone."""
        kept: list[list[NDArray]] = [[] for _ in prompts]
        cuts = list(pieces([len(ids) for ids in prompts]))
        done = itertools.count(1)

        def on_layer() -> None:
            if progress:
                progress(next(done), len(cuts) * self.config.num_hidden_layers)

        for cut in cuts:
            parts = [prompts[index][piece] for index, piece in cut.items()]
            part_caches = [caches[index] for index in cut]
            outputs = forward(parts, part_caches, self.weights, self.config, self.dtype, on_layer)
            for index, x_TD in zip(cut, outputs, strict=True):
                kept[index] = [*kept[index], x_TD] if keep == "all" else [x_TD[-1:]]
        return [np.concatenate(parts) for parts in kept]

    def checked(
        self, prompts: Sequence[ArrayLike], caches: Sequence[Cache | None]
    ) -> list[tuple[NDArray[np.integer], Cache]]:
        """The ``prompts`` as arrays, (T,), with their caches, new ones for None; or an `InputError` that says why."""
        filled = [self.new_cache() if cache is None else cache for cache in caches]
        return checked_prompts(prompts, filled, (self.config, np.dtype(self.dtype), self.cache))
