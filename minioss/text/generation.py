"""Generating text: one token after another, for one prompt or several at once."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minioss.cache import Cache
from minioss.errors import InputError
from minioss.model import Model, Progress
from minioss.text.sampling import Sampling, choose, largest, log_softmax


class TokenLogprob(NamedTuple):
    """A token and the natural logarithm of its probability."""

    token: int
    logprob: float


class Token(int):
    """A generated token: an id that also knows how probable it was.

    Attributes
    ----------
    logprob : natural logarithm of its probability in the model's own distribution, before any
        penalty, temperature or filter
    top_logprobs : the most probable tokens at its place, best first, as many as were asked for
    """

    logprob: float
    top_logprobs: list[TokenLogprob]

    def __new__(cls, token: int, logits_V: NDArray, top: int) -> "Token":
        self = super().__new__(cls, token)
        logprobs_V = log_softmax(logits_V)
        self.logprob = float(logprobs_V[token])
        best = largest(logprobs_V, top) if top else []
        self.top_logprobs = [TokenLogprob(int(other), float(logprobs_V[other])) for other in best]
        return self


class _Text:
    """One prompt and what follows: its ids, its cache, its own randomness."""

    def __init__(self, ids: NDArray, cache: Cache, random: np.random.Generator) -> None:
        self.ids, self.cache, self.random = ids.tolist(), cache, random
        self.new = ids
        self.live = True

    def append(self, token: Token) -> None:
        self.ids.append(int(token))
        self.new = np.array([token])


def generate(model: Model, token_ids: ArrayLike, *, cache: Cache | None = None, **options: Any) -> Iterator[Token]:
    """Continue one prompt.

    Parameters
    ----------
    model : a loaded model
    token_ids : the prompt, (T,), at least one token
    cache : what came before the prompt. It is extended by the prompt and by every token given
        out but the last, which the model has not read yet
    **options : as in `generate_batch`

    Yields
    ------
    Token
        An int with ``logprob`` and ``top_logprobs``.

    Raises
    ------
    InputError
        At once, where the prompt or an option is wrong.

    Examples
    --------
    ::

        for token in minioss.generate(model, ids, max_new_tokens=64, temperature=0.0):
            ...
    """
    rows = generate_batch(model, [token_ids], caches=[cache], **options)
    return (token for (token,) in rows if token is not None)


def generate_batch(
    model: Model,
    prompts: Sequence[ArrayLike],
    *,
    max_new_tokens: int = 256,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    seed: int | None = None,
    stop_tokens: Sequence[int] | None = None,
    top_logprobs: int = 0,
    caches: Sequence[Cache | None] | None = None,
    progress: Progress | None = None,
) -> Iterator[list[Token | None]]:
    """Continue several prompts at once; a step reads each weight once for all of them.

    A prompt's continuation ends after ``max_new_tokens``, after a stop token (which is given
    out), or where the context is full.

    Parameters
    ----------
    model : a loaded model
    prompts : token ids, (T,) each
    max_new_tokens : at most this many tokens a prompt
    temperature, top_k, top_p, min_p, repetition_penalty : see `Sampling`
    seed : the same seed gives the same tokens; None takes one from the system
    stop_tokens : ids that end a text; None for the model's own
    top_logprobs : how many of the most probable tokens to report with each token
    caches : what came before each prompt
    progress : called with (layers done, layers in all) while the prompts are read

    Yields
    ------
    list of Token or None
        One entry a prompt: its next token, or None once it has ended.

    Raises
    ------
    InputError
        At once, where a prompt or an option is wrong.
    """
    sampling = Sampling(repetition_penalty, temperature, top_k, top_p, min_p)
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens is {max_new_tokens}; expected at least 1")
    if top_logprobs < 0:
        raise InputError(f"top_logprobs is {top_logprobs}; expected 0 or more")
    if seed is not None and seed < 0:
        raise InputError(f"seed is {seed}; expected 0 or more")
    checked = model.checked(prompts, [None] * len(prompts) if caches is None else caches)
    streams = np.random.SeedSequence(seed).spawn(len(prompts))
    texts = [
        _Text(ids, cache, np.random.default_rng(stream)) for (ids, cache), stream in zip(checked, streams, strict=True)
    ]
    stops = set(model.stop_tokens if stop_tokens is None else stop_tokens)
    return _rows(model, texts, sampling, max_new_tokens, stops, top_logprobs, progress)


def _rows(
    model: Model,
    texts: Sequence[_Text],
    sampling: Sampling,
    max_new_tokens: int,
    stops: set[int],
    top_logprobs: int,
    progress: Progress | None,
) -> Iterator[list[Token | None]]:
    for _ in range(max_new_tokens):
        live = [text for text in texts if text.live]
        if not live:
            return
        logits = model.batch([text.new for text in live], [text.cache for text in live], "last", progress)
        progress = None
        row: list[Token | None] = [None] * len(texts)
        for text, (logits_V,) in zip(live, logits, strict=True):
            token = Token(choose(logits_V, sampling, text.ids, text.random), logits_V, top_logprobs)
            text.append(token)
            text.live = token not in stops and text.cache.length < model.config.max_position_embeddings
            row[texts.index(text)] = token
        yield row
