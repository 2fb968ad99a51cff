"""How well a model predicts tales that it has not read, in nats a token, and how well counting would.

The counting is a trigram model with absolute discounting: each level gives a part d of every count
that it has to the level below it, down to a uniform guess.

    p(w | u v) = max(c(u v w) - d, 0) / c(u v)  +  d n(u v) / c(u v)  p(w | v)

c counts in the training text, n(u v) is how many different tokens followed u v there; where u v
never came, p(w | u v) = p(w | v).

Source: Ney, Essen and Kneser, "On structuring probabilistic dependences" (1994).
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from minioss.model import Model
from minioss.training.loss import cross_entropy

DISCOUNT = 0.75


def model_loss(model: Model, texts: Sequence[Sequence[int]], length: int) -> float:
    """The mean over all tokens but each piece's first; a text is read in pieces of ``length`` tokens."""
    total, count = 0.0, 0
    for text in texts:
        for first in range(0, len(text) - 1, length):
            piece = np.asarray(text[first : first + length + 1])
            logits_TV = model(piece[:-1])
            total += cross_entropy(logits_TV, piece[1:], np.ones(len(logits_TV), logits_TV.dtype))[0]
            count += len(logits_TV)
    return total / count


def trigram_loss(read: Sequence[Sequence[int]], texts: Sequence[Sequence[int]], vocab_size: int) -> float:
    """The mean over the same tokens, for a trigram model of the texts that were read."""
    levels = [_Level(read, order) for order in (1, 2, 3)]
    total, count = 0.0, 0
    for text in texts:
        text = list(map(int, text))
        for place in range(1, len(text)):
            probability = 1 / vocab_size
            for order, level in enumerate(levels):
                if place >= order:
                    probability = level.probability(tuple(text[place - order : place]), text[place], probability)
            total -= float(np.log(probability))
            count += 1
    return total / count


class _Level:
    """What followed each context of ``order - 1`` tokens."""

    def __init__(self, read: Sequence[Sequence[int]], order: int) -> None:
        self._counts: Counter[tuple[int, ...]] = Counter()
        for text in read:
            text = list(map(int, text))
            self._counts.update(zip(*(text[start:] for start in range(order)), strict=False))
        self._of_context: Counter[tuple[int, ...]] = Counter()
        self._different: Counter[tuple[int, ...]] = Counter()
        for gram, seen in self._counts.items():
            self._of_context[gram[:-1]] += seen
            self._different[gram[:-1]] += 1

    def probability(self, context: tuple[int, ...], token: int, below: float) -> float:
        """p(token | context), given that of the level below."""
        seen = self._of_context[context]
        if not seen:
            return below
        own = max(self._counts[*context, token] - DISCOUNT, 0)
        return (own + DISCOUNT * self._different[context] * below) / seen
