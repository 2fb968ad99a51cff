"""Prompts on their way into the model: their ids are checked, and long ones are cut into pieces."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minioss.cache import Cache
from minioss.config import Config
from minioss.errors import InputError

TOKENS_PER_PIECE = 512


def checked_prompts(
    prompts: Sequence[ArrayLike], caches: Sequence[Cache], kind: tuple[Config, np.dtype, str]
) -> list[tuple[NDArray[np.integer], Cache]]:
    """Each prompt as an array, with its cache.

    Parameters
    ----------
    prompts : token ids, (T,) each
    caches : what each prompt has seen before
    kind : the config, type and storage that every cache must have

    Raises
    ------
    InputError
        That says what is wrong with a prompt or a cache.
    """
    if len(caches) != len(prompts) or not prompts:
        raise InputError(
            f"there are {len(prompts)} prompts and {len(caches)} caches; expected at least one, and as many"
        )
    if len(set(map(id, caches))) < len(caches):
        raise InputError("two prompts have the same cache; expected one each")
    for cache in caches:
        if (cache.config, cache.dtype, cache.storage) != kind:
            raise InputError(f"the cache ({cache.dtype}) is of another model; expected this model's new_cache()")
    return [(checked_ids(ids, cache), cache) for ids, cache in zip(prompts, caches, strict=True)]


def checked_ids(token_ids: ArrayLike, cache: Cache) -> NDArray[np.integer]:
    """The token ids of one prompt as an array, or an `InputError` that says what is wrong with them."""
    try:
        ids_T = np.asarray(token_ids)
    except ValueError:
        raise InputError("the prompt is no plain list; expected token ids, (T,)") from None
    if ids_T.ndim != 1 or ids_T.size == 0:
        raise InputError(f"the prompt has shape {ids_T.shape}; expected (T,) with at least one token")
    if not np.issubdtype(ids_T.dtype, np.integer):
        raise InputError(f"the token ids are {ids_T.dtype}; expected integers")
    vocab_size, context = cache.config.vocab_size, cache.config.max_position_embeddings
    for position in np.flatnonzero((ids_T < 0) | (ids_T >= vocab_size)):
        raise InputError(f"token {position} of the prompt is {ids_T[position]}; expected 0 to {vocab_size - 1}")
    if cache.length + len(ids_T) > context:
        raise InputError(
            f"the text would be {cache.length + len(ids_T)} tokens long; "
            f"expected at most max_position_embeddings = {context}"
        )
    return ids_T


def pieces(lengths: Sequence[int]) -> Iterator[dict[int, slice]]:
    """Cut all prompts alike, into pieces that together have about `TOKENS_PER_PIECE` tokens.

    Yields
    ------
    dict
        By the prompt's index, the slice that comes next; prompts that have ended are left out.

    Examples
    --------
    >>> list(pieces([3, 300]))
    [{0: slice(0, 3, None), 1: slice(0, 256, None)}, {1: slice(256, 300, None)}]
    """
    step = max(1, TOKENS_PER_PIECE // len(lengths))
    for first in range(0, max(lengths), step):
        yield {index: slice(first, min(first + step, length)) for index, length in enumerate(lengths) if first < length}
