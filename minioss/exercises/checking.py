"""What an exercise is, and how an answer to it is judged.

An answer is a function, and is held against the right one on cases drawn at random; or it is a value.
Wrong answers that people often give are known by name: whoever gives one is told which.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

CASES = 20


class Slip(NamedTuple):
    """A wrong answer, and what to say to whoever gives it."""

    answer: Callable
    hint: str


@dataclass(frozen=True)
class Exercise:
    """A task.

    Parameters
    ----------
    name : what it is about: a module's name, or a word of the glossary
    task : what to write
    right : the answer
    case : draws arguments for it
    slips : answers that are often given, and wrong
    """

    name: str
    task: str
    right: Callable
    case: Callable[[np.random.Generator], tuple]
    slips: tuple[Slip, ...]


class Judgement(NamedTuple):
    """Whether an answer is right, and what to say about it."""

    right: bool
    said: str


def judge(exercise: Exercise, answer: Any) -> Judgement:
    """Judge an answer; one that is no function stands for the function that always gives it."""
    random = np.random.default_rng(0)
    cases = [exercise.case(random) for _ in range(CASES)]
    expected = [_given(exercise.right, case) for case in cases]
    try:
        found = [_given(answer, case) for case in cases]
    except Exception as error:  # whatever it is, the person who wrote the answer wants to know
        return Judgement(False, f"Your function raises {type(error).__name__}: {error}")
    if _same(found, expected):
        return Judgement(True, "Right.")
    for slip in exercise.slips:
        if _same(found, [_given(slip.answer, case) for case in cases]):
            return Judgement(False, f"Not yet. {slip.hint}")
    return Judgement(False, f"Not yet. {_difference(found, expected)}")


def _given(answer: Any, case: tuple) -> Any:
    return answer(*copy.deepcopy(case)) if callable(answer) else answer


def _same(found: Any, expected: Any) -> bool:
    if isinstance(expected, list | tuple):
        return isinstance(found, list | tuple) and len(found) == len(expected) and all(map(_same, found, expected))
    if isinstance(expected, np.ndarray | float):
        try:
            found = np.asarray(found, np.float64)
        except (TypeError, ValueError):
            return False
        return found.shape == np.shape(expected) and np.allclose(found, expected, rtol=1e-9, atol=1e-12)
    return bool(np.all(found == expected))


def _difference(found: Sequence, expected: Sequence) -> str:
    """The first case that differs, in a sentence."""
    ours, right = next((a, b) for a, b in zip(found, expected, strict=True) if not _same(a, b))
    if isinstance(ours, np.ndarray) and ours.shape != np.shape(right):
        return f"The shape is {ours.shape}; expected {np.shape(right)}."
    return f"You give {_short(ours)}; expected {_short(right)}."


def _short(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        text = repr(value)
        return text if len(text) <= 200 else f"{text[:200]}…"
    return " ".join(np.array2string(value, precision=4, threshold=8, edgeitems=2).split())
