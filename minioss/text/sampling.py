"""Choosing the next token from its logits."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minioss.errors import InputError


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen. The steps are taken in the order of the fields, as transformers takes them.

    Parameters
    ----------
    repetition_penalty : logits of tokens seen before are divided by this where positive, multiplied
        where negative; 1 does nothing (Keskar et al., "CTRL", 2019, section 4.1)
    temperature : logits are divided by this; 0 means the most probable token, always
    top_k : only this many of the most probable tokens; None for all
    top_p : only the fewest most probable tokens whose probabilities reach this sum
        (Holtzman et al., "The Curious Case of Neural Text Degeneration", 2019)
    min_p : only tokens at least this probable relative to the most probable one
    """

    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0

    def __post_init__(self) -> None:
        self._check("repetition_penalty", 0 < self.repetition_penalty < math.inf, "a positive number")
        self._check("temperature", 0 <= self.temperature < math.inf, "0 or a positive number")
        self._check("top_k", self.top_k is None or self.top_k >= 1, "at least 1")
        self._check("top_p", 0 < self.top_p <= 1, "above 0, at most 1")
        self._check("min_p", 0 <= self.min_p <= 1, "0 to 1")

    def _check(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise InputError(f"{name} is {getattr(self, name)}; expected {expected}")


def choose(logits_V: NDArray, sampling: Sampling, seen: Iterable[int], random: np.random.Generator) -> int:
    """Choose a token.

    Parameters
    ----------
    logits_V : float32 or float64, (V,)
    sampling : how
    seen : ids of the text so far, for the repetition penalty
    random : where the randomness comes from; not used at temperature 0
    """
    if sampling.repetition_penalty != 1:
        logits_V = penalize(logits_V, seen, sampling.repetition_penalty)
    if sampling.temperature == 0:
        return int(np.argmax(logits_V))
    ids, probabilities = candidates(logits_V, sampling)
    return int(random.choice(ids, p=probabilities))


def penalize(logits_V: NDArray, seen: Iterable[int], penalty: float) -> NDArray:
    """Make the tokens seen before less probable (for a penalty above 1)."""
    ids = np.unique(np.fromiter(seen, np.intp))
    logits_V = logits_V.copy()
    logits_V[ids] = np.where(logits_V[ids] > 0, logits_V[ids] / penalty, logits_V[ids] * penalty)
    return logits_V


def candidates(logits_V: NDArray, sampling: Sampling) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The tokens that may be chosen and their probabilities.

    Most probable first where ``top_k`` or ``top_p`` asks for an order; otherwise by id, since sorting a
    vocabulary of 201,088 takes longer than all the rest.

    Examples
    --------
    >>> ids, probabilities = candidates(np.log([0.1, 0.6, 0.3]), Sampling(top_p=0.8))
    >>> ids, probabilities.round(3)
    (array([1, 2]), array([0.667, 0.333]))
    """
    ids = _by_probability(logits_V, sampling)
    probabilities = np.exp(log_softmax(logits_V[ids] / sampling.temperature))
    kept = probabilities >= sampling.min_p * probabilities.max()
    if sampling.top_p < 1:
        kept &= np.cumsum(probabilities) - probabilities < sampling.top_p
    return ids[kept], probabilities[kept] / probabilities[kept].sum()


def _by_probability(logits_V: NDArray, sampling: Sampling) -> NDArray[np.intp]:
    """The ids that ``top_k`` leaves, in the order that the filters need."""
    if sampling.top_k is None and sampling.top_p == 1:
        return np.arange(len(logits_V))
    return largest(logits_V, sampling.top_k or len(logits_V))


def largest(values_V: NDArray, count: int) -> NDArray[np.intp]:
    """The indices of the ``count`` largest values (or of all, where there are fewer), largest first."""
    if count >= len(values_V):
        return np.argsort(-values_V, kind="stable")
    best = np.argpartition(-values_V, count)[:count]
    return best[np.argsort(-values_V[best], kind="stable")]


def log_softmax(logits_V: NDArray) -> NDArray[np.float64]:
    """Natural logarithms of the probabilities, in float64: (V,)."""
    shifted_V = logits_V.astype(np.float64) - logits_V.max()
    return shifted_V - np.log(np.exp(shifted_V).sum())
