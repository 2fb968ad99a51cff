"""Batches to train on: passages of the tales, simple stories, and conversations, each a sequence of its own.

A batch depends on the seed and on its step alone, so a run that goes on from a checkpoint sees what an
unbroken one would have seen. Every batch has as many texts of each sort. A conversation is never cut,
and nothing but itself can be seen from it: a number in a question is one of two, not one of fifty.
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

# How many texts of a batch are of each sort, and the length of a passage.
PASSAGES, STORIES, CONVERSATIONS = 2, 4, 13
PASSAGE = 512
# A token of a reply counts as so many of a passage or story: there are few, and all that is to be learnt.
REPLY_WEIGHT = 3


def batch(seed: int, step: int) -> Batch:
    """The batch of a step. The weights sum to 1, so the loss is a mean.

    Parameters
    ----------
    seed : of the run
    step : from 1
    """
    random = np.random.default_rng([seed, step])
    drawn = texts(random)
    ids, targets, weights = zip(*((text.ids[:-1], text.ids[1:], text.weights[1:]) for text in drawn))
    weight_T = np.concatenate(weights).astype(np.float32)
    lengths = np.array([len(text) for text in ids])
    return Batch(np.concatenate(ids), np.concatenate(targets), weight_T / weight_T.sum(), lengths)


def texts(random: np.random.Generator) -> list[Example]:
    """Those of a batch. Both halves have as many of each sort, so that two shards take as long."""
    made = [Example(passage(random, PASSAGE + 1), [1] * (PASSAGE + 1)) for _ in range(PASSAGES)]
    made += [told(random) for _ in range(STORIES)]
    made += [held(random) for _ in range(CONVERSATIONS)]
    return made[0::2] + made[1::2]


def told(random: np.random.Generator) -> Example:
    """A story and its end."""
    ids = [*tokenizer().encode_ordinary(story(random)), tokenizer().encode_single_token(END_OF_TEXT)]
    return Example(ids, [1] * len(ids))


def held(random: np.random.Generator) -> Example:
    """A conversation, of which the reply counts."""
    ids, weights = example(random, conversation(random), tokenizer())
    return Example(ids, [REPLY_WEIGHT * weight for weight in weights])


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
