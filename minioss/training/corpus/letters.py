"""Counting, reversing and sorting the letters of words that are spelled out.

A word is one or two tokens, and which letters it has would have to be learnt by heart. So the questions spell
it, in capitals with spaces between them: L A D D E R. Such a letter is one token, or two (X and Z).
"""

import re
from collections import Counter
from functools import cache

import numpy as np

from minioss.training.corpus.drawing import expand, pick
from minioss.training.corpus.problem import Kind, Operands, Problem
from minioss.training.corpus.tales import tales

LEAST_OFTEN, SHORTEST, LONGEST = 10, 3, 8
# Longer words are not sorted.
LONGEST_SORTED = 5

COUNTING = (
    "How many times does the letter {letter} occur in {letters}?",
    "How often does {letter} occur in {letters}?",
    "Count the letter {letter} in {letters}.",
    "How many {letter}'s are in {letters}?",
    "How many letters {letter} are there in the word {letters}?",
)
REVERSING = (
    "Reverse {letters}.",
    "Reverse the word {letters}.",
    "Write {letters} backward[s|].",
    "What is {letters} [backward|in reverse]?",
    "Put the letters {letters} in reverse order.",
)
SORTING = (
    "Sort the letters {letters}.",
    "Sort {letters}[ alphabetically|].",
    "Put the letters {letters} in [alphabetical order|the order of the alphabet].",
    "What is the alphabetical order of {letters}?",
)


@cache
def words() -> list[str]:
    """The words of the tales that are not too rare, too short or too long, and no names."""
    count = Counter(re.findall("[A-Za-z]+", " ".join(tales())))
    sizes = range(SHORTEST, LONGEST + 1)
    return sorted(
        word
        for word, times in count.items()
        if times >= LEAST_OFTEN and word.islower() and len(word) in sizes and times > count[word.capitalize()]
    )


def letter_and_word(random: np.random.Generator) -> Operands:
    """A word and one of its letters, now and then a letter that is not in it."""
    word = pick(random, words())
    letters = "abcdefghijklmnopqrstuvwxyz" if random.random() < 0.2 else word
    return pick(random, letters), word


def one_word(random: np.random.Generator) -> Operands:
    """Any word."""
    return (pick(random, words()),)


def short_word(random: np.random.Generator) -> Operands:
    """A word that is not too long to be sorted."""
    (word,) = operands = one_word(random)
    return operands if len(word) <= LONGEST_SORTED else short_word(random)


def counting(random: np.random.Generator, operands: Operands) -> Problem:
    """How often a letter occurs in a word.

    Examples
    --------
    >>> problem = counting(np.random.default_rng(0), ("d", "ladder"))
    >>> problem.worked, problem.hint, problem.answer
    ('D in L:0 A:0 D:1 D:2 E:2 R:2', 'D in L A D D E R', '2')
    """
    letter, word = operands
    steps = [f"{spelled.upper()}:{word[: place + 1].count(letter)}" for place, spelled in enumerate(word)]
    slots = {"letter": letter.upper(), "letters": spelled_out(word)}
    start = f"{letter.upper()} in "
    question = expand(random, pick(random, COUNTING), slots)
    return Problem(question, start + " ".join(steps), start + spelled_out(word), str(word.count(letter)))


def reversing(random: np.random.Generator, operands: Operands) -> Problem:
    """A word backward.

    Examples
    --------
    >>> problem = reversing(np.random.default_rng(0), ("ladder",))
    >>> problem.worked, problem.hint, problem.answer
    ('L1 A2 D3 D4 E5 R6, R6 E5 D4 D3 A2 L1', '6 letters, R first.', 'R E D D A L')
    """
    (word,) = operands
    numbered = [f"{letter}{place}" for place, letter in enumerate(word.upper(), 1)]
    worked = f"{' '.join(numbered)}, {' '.join(reversed(numbered))}"
    question = expand(random, pick(random, REVERSING), {"letters": spelled_out(word)})
    hint = f"{len(word)} letters, {word[-1].upper()} first."
    return Problem(question, worked, hint, spelled_out(word[::-1]))


def sorting(random: np.random.Generator, operands: Operands) -> Problem:
    """The letters of a word in alphabetical order, each put at its place among those before it.

    Examples
    --------
    >>> problem = sorting(np.random.default_rng(0), ("plum",))
    >>> problem.worked, problem.hint, problem.answer
    ('P, L P, L P U, L M P U', 'L first.', 'L M P U')
    """
    (word,) = operands
    steps = [spelled_out("".join(sorted(word[: place + 1]))) for place in range(len(word))]
    question = expand(random, pick(random, SORTING), {"letters": spelled_out(word)})
    return Problem(question, ", ".join(steps), f"{min(word).upper()} first.", steps[-1])


def spelled_out(word: str) -> str:
    """Its letters, as capitals."""
    return " ".join(word.upper())


KINDS = (
    Kind("count", letter_and_word, counting, ordered=True),
    Kind("reverse", one_word, reversing, ordered=True),
    Kind("sort", short_word, sorting, ordered=True),
)
