"""A small task with one right answer, and which of them are kept for the evaluation."""

from collections.abc import Callable
from typing import NamedTuple
from zlib import crc32

import numpy as np

Operands = tuple[int | str, ...]

# One in so many is never trained on.
HELD_OUT_IN = 6


class Problem(NamedTuple):
    """What is asked, and what is to be said.

    Parameters
    ----------
    question : in one of several phrasings
    worked : the reasoning at high effort, each step written down
    hint : the reasoning at medium effort: one line, with less of the work done
    answer : the final message, and nothing besides it
    """

    question: str
    worked: str
    hint: str
    answer: str


class Kind(NamedTuple):
    """A kind of problem.

    Parameters
    ----------
    name : for the hash, and for tables
    operands : draws what a problem is about
    problem : makes the problem of the operands; the generator chooses the phrasing
    ordered : whether the operands in another order are another problem
    """

    name: str
    operands: Callable[[np.random.Generator], Operands]
    problem: Callable[[np.random.Generator, Operands], Problem]
    ordered: bool = False


def is_held_out(kind: Kind, operands: Operands) -> bool:
    """Whether a problem is kept for the evaluation: by a hash of what it is about, however it is phrased."""
    same = operands if kind.ordered else sorted(operands, key=str)
    return crc32(f"{kind.name} {' '.join(map(str, same))}".encode()) % HELD_OUT_IN == 0


def draw_operands(random: np.random.Generator, kind: Kind, held_out: bool = False) -> Operands:
    """What a problem is about, of those to train on or of those held out."""
    while True:
        operands = kind.operands(random)
        if is_held_out(kind, operands) == held_out:
            return operands


def draw(random: np.random.Generator, kind: Kind) -> Problem:
    """A problem to train on."""
    return kind.problem(random, draw_operands(random, kind))
