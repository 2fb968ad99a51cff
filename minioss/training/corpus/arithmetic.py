"""Adding, subtracting and comparing numbers of up to three digits, worked digit by digit.

A digit is a token, so a column of a sum is a fact about two digits and a carry that a small model can
learn by heart; numbers of one length put the digits of a column at one distance. Columns go from the
right, as on paper. A difference may be negative: the smaller number is then taken from the larger.
"""

import numpy as np

from minioss.training.corpus.drawing import expand, pick
from minioss.training.corpus.problem import Kind, Operands, Problem

ADDING = (
    "What is {a} + {b}?",
    "{a} + {b}",
    "{a} + {b} = ?",
    "What is {a} plus {b}?",
    "Add {a} and {b}.",
    "How much is {a} plus {b}?",
    "[Please compute|Compute|Calculate] {a} + {b}.",
    "What is the sum of {a} and {b}?",
)
SUBTRACTING = (
    "What is {a} - {b}?",
    "{a} - {b}",
    "{a} - {b} = ?",
    "What is {a} minus {b}?",
    "Subtract {b} from {a}.",
    "How much is {a} minus {b}?",
    "[Please compute|Compute|Calculate] {a} - {b}.",
    "Take {b} away from {a}.",
)
COMPARING = (
    "Which is {which}, {a} or {b}?",
    "Which number is {which}: {a} or {b}?",
    "Which of {a} and {b} is {which}?",
    "Tell me the {which} of the numbers {a} and {b}.",
)


def number(random: np.random.Generator) -> int:
    """A number of one, two or three digits, longer ones more often."""
    digits = pick(random, (1, 2, 2, 3, 3, 3))
    return int(random.integers(10 ** (digits - 1) if digits > 1 else 0, 10**digits))


def two_numbers(random: np.random.Generator) -> Operands:
    """Any two."""
    return number(random), number(random)


def different_numbers(random: np.random.Generator) -> Operands:
    """Two that differ, often in their last digits only."""
    a, b = number(random), number(random)
    if random.random() < 0.4:
        b = a + pick(random, (-10, -2, -1, 1, 2, 10))
    return (a, b) if a != b and b >= 0 else different_numbers(random)


def addition(random: np.random.Generator, operands: Operands) -> Problem:
    """A sum.

    Examples
    --------
    >>> print(addition(np.random.default_rng(0), (347, 85)).worked)
    347+085
    7+5+0=12: 2 carry 1
    4+8+1=13: 3 carry 1
    3+0+1=4: 4 carry 0
    So 432.
    """
    a, b = operands
    top, bottom = padded(a, b)
    lines, carry = [f"{top}+{bottom}"], 0
    for one, other in reversed(list(zip(top, bottom, strict=True))):
        total = int(one) + int(other) + carry
        lines.append(f"{one}+{other}+{carry}={total}: {total % 10} carry {total // 10}")
        carry = total // 10
    question = expand(random, pick(random, ADDING), {"a": str(a), "b": str(b)})
    hint = f"{a - a % 10}+{b - b % 10}={a - a % 10 + b - b % 10}, {a % 10}+{b % 10}={a % 10 + b % 10}."
    return Problem(question, "\n".join([*lines, f"So {a + b}."]), hint, str(a + b))


def subtraction(random: np.random.Generator, operands: Operands) -> Problem:
    """A difference.

    Examples
    --------
    >>> print(subtraction(np.random.default_rng(0), (85, 347)).worked)
    085<347: negative, 347-085
    7-5-0=2: 2 borrow 0
    4-8-0=-4: 6 borrow 1
    3-0-1=2: 2 borrow 0
    So -262.
    """
    a, b = operands
    large, small = padded(max(a, b), min(a, b))
    first, second = padded(a, b)
    lines, borrow = [f"{first}<{second}: negative, " if a < b else f"{first}{'>' if a > b else '='}{second}: "], 0
    lines[0] += f"{large}-{small}"
    for one, other in reversed(list(zip(large, small, strict=True))):
        rest = int(one) - int(other) - borrow
        lines.append(f"{one}-{other}-{borrow}={rest}: {rest % 10} borrow {int(rest < 0)}")
        borrow = int(rest < 0)
    question = expand(random, pick(random, SUBTRACTING), {"a": str(a), "b": str(b)})
    tens = b - b % 10
    return Problem(question, "\n".join([*lines, f"So {a - b}."]), f"{a}-{tens}={a - tens}, -{b % 10}.", str(a - b))


def comparison(random: np.random.Generator, operands: Operands) -> Problem:
    """The larger or the smaller of two numbers.

    Examples
    --------
    >>> print(comparison(np.random.default_rng(0), (347, 85)).worked)
    347, 085
    3>0: 347>85
    So 85.
    """
    a, b = operands
    which = pick(random, ("larger", "smaller"))
    first, second = padded(a, b)
    lines = [f"{first}, {second}"]
    for one, other in zip(first, second, strict=True):
        if one != other:
            lines.append(f"{one}{'>' if one > other else '<'}{other}: {a}{'>' if a > b else '<'}{b}")
            break
        lines.append(f"{one}={other}")
    answer = str(max(a, b) if which == "larger" else min(a, b))
    question = expand(random, pick(random, COMPARING), {"a": str(a), "b": str(b), "which": which})
    hint = f"{first}, {second}."
    return Problem(question, "\n".join([*lines, f"So {answer}."]), hint, answer)


def padded(a: int, b: int) -> tuple[str, str]:
    """Two numbers, the shorter one with zeros in front."""
    width = max(len(str(a)), len(str(b)))
    return f"{a:0{width}}", f"{b:0{width}}"


KINDS = (
    Kind("add", two_numbers, addition),
    Kind("subtract", two_numbers, subtraction, ordered=True),
    Kind("compare", different_numbers, comparison),
)
