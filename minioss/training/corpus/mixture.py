"""Batches to train on: tales, stories and conversations, one after the other in sequences of one length.

A batch depends on the seed and on its step alone, so a run that goes on from a checkpoint sees what an
unbroken one would have seen. A sequence is either a passage of the tales, or stories and conversations
as long as they fit whole, and then a passage of the tales up to the end. So every conversation is read
from its beginning, and no place is left empty. Texts end in ``<|endoftext|>``, conversations in what
ends their last reply.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from minioss.text.harmony.special import END_OF_TEXT
from minioss.training.corpus.conversations import Example, conversation, example
from minioss.training.corpus.stories import story
from minioss.training.corpus.tales import tales
from minioss.training.corpus.tokenizer import tokenizer
from minioss.training.transformer import Batch

SEQUENCE = 512
# How many sequences are a passage of the tales alone, and how many of the other texts are stories.
PASSAGES, STORIES = 0.15, 0.2


def batch(seed: int, step: int, sequences: int) -> Batch:
    """The batch of a step: ``sequences`` of `SEQUENCE` tokens. The weights sum to 1, so the loss is a mean.

    Parameters
    ----------
    seed : of the run
    step : from 1
    sequences : how many
    """
    random = np.random.default_rng([seed, step])
    drawn = [sequence(random, SEQUENCE + 1) for _ in range(sequences)]
    ids_NS = np.array([ids for ids, _ in drawn], np.intp)
    weight_NS = np.array([weights for _, weights in drawn], np.float32)[:, 1:]
    return Batch(ids_NS[:, :-1], ids_NS[:, 1:], weight_NS / weight_NS.sum())


def sequence(random: np.random.Generator, length: int) -> Example:
    """Texts, one after the other, ``length`` tokens in all."""
    ids: list[int] = []
    weights: list[int] = []
    alone = random.random() < PASSAGES
    while not alone:
        text = document(random)
        if len(ids) + len(text.ids) > length:
            break
        ids += text.ids
        weights += text.weights
    rest = passage(random, length - len(ids))
    return Example(ids + rest, weights + [1] * len(rest))


def document(random: np.random.Generator) -> Example:
    """A story or a conversation."""
    if random.random() >= STORIES:
        return example(random, conversation(random), tokenizer())
    ids = [*tokenizer().encode_ordinary(story(random)), tokenizer().encode_single_token(END_OF_TEXT)]
    return Example(ids, [1] * len(ids))


def passage(random: np.random.Generator, length: int) -> list[int]:
    """So many tokens of the tales, from the start of a paragraph on; after a tale comes the next one."""
    ids, starts = tale_tokens()
    start = starts[random.integers(np.searchsorted(starts, len(ids) - length, "right"))]
    return ids[start : start + length].tolist()


@cache
def tale_tokens() -> tuple[NDArray[np.uint16], NDArray[np.intp]]:
    """All tales to train on in one row, and where their paragraphs start."""
    encoding = tokenizer()
    end = encoding.encode_single_token(END_OF_TEXT)
    ids = np.array([token for text in tales() for token in [*encoding.encode_ordinary(text), end]], np.uint16)
    (line_end,) = encoding.encode_ordinary("\n")
    before = np.flatnonzero((ids == line_end) | (ids == end))
    return ids, np.concatenate([[0], before[:-1] + 1])
