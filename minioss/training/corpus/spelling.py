"""Counting letters, reversing and sorting words, worked by spelling them out.

The model sees a word as one or two tokens and must know by heart how they are spelled. Letters are
written as capitals, which the tokenizer never merges: each is one token, so that a spelled word can be
counted and read backward.
"""

import re
from collections import Counter
from functools import cache

import numpy as np

from minioss.training.corpus.drawing import expand, pick, several
from minioss.training.corpus.problem import Kind, Operands, Problem
from minioss.training.corpus.tales import tales

LEAST_OFTEN, SHORTEST, LONGEST = 10, 3, 8

COUNTING = (
    "How many times does the letter {letter} occur in the word {word}?",
    "How often does {letter} occur in {word}?",
    'How many times does the letter "{letter}" occur in the word "{word}"?',
    "Count the letter {letter} in the word {word}.",
    "How many {letter}'s are in {word}?",
    "How many letters {letter} are there in the word {word}?",
)
REVERSING = (
    "Reverse the word {word}.",
    "Write the word {word} backward[s|].",
    'Reverse the word "{word}".',
    "What is {word} [spelled backward|in reverse]?",
    "Spell {word} backward[s|].",
)
SORTING = (
    "Sort these words[ alphabetically|]: {words}",
    "Sort the words {words}.",
    "Put these words in [alphabetical order|the order of the alphabet]: {words}",
    "What is the alphabetical order of {words}?",
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


def some_words(random: np.random.Generator) -> Operands:
    """Three to five words that differ in their first three letters."""
    drawn = several(random, words(), int(random.integers(3, 6)))
    return tuple(drawn) if len({word[:3] for word in drawn}) == len(drawn) else some_words(random)


def counting(random: np.random.Generator, operands: Operands) -> Problem:
    """How often a letter occurs in a word.

    Examples
    --------
    >>> problem = counting(np.random.default_rng(0), ("d", "ladder"))
    >>> problem.worked, problem.hint
    ('D in L:0 A:0 D:1 D:2 E:2 R:2', 'D in L A D D E R')
    """
    letter, word = operands
    steps = [f"{spelled.upper()}:{word[: place + 1].count(letter)}" for place, spelled in enumerate(word)]
    question = expand(random, pick(random, COUNTING), {"letter": letter, "word": word})
    start = f"{letter.upper()} in "
    return Problem(question, start + " ".join(steps), start + spelled_out(word), str(word.count(letter)))


def reversing(random: np.random.Generator, operands: Operands) -> Problem:
    """A word backward.

    Examples
    --------
    >>> problem = reversing(np.random.default_rng(0), ("ladder",))
    >>> problem.worked, problem.hint, problem.answer
    ('L1 A2 D3 D4 E5 R6, R6 E5 D4 D3 A2 L1', 'L A D D E R', 'REDDAL')
    """
    (word,) = operands
    numbered = [f"{letter}{place}" for place, letter in enumerate(word.upper(), 1)]
    worked = f"{' '.join(numbered)}, {' '.join(reversed(numbered))}"
    question = expand(random, pick(random, REVERSING), {"word": word})
    return Problem(question, worked, spelled_out(word), word.upper()[::-1])


def sorting(random: np.random.Generator, operands: Operands) -> Problem:
    """Words in alphabetical order.

    Examples
    --------
    >>> problem = sorting(np.random.default_rng(0), ("plum", "fig", "pear"))
    >>> problem.worked, problem.hint, problem.answer
    ('PLU plum, FIG fig, PEA pear. FIG fig, PEA pear, PLU plum', 'P, F, P', 'fig, pear, plum')
    """
    before, after = (", ".join(f"{word[:3].upper()} {word}" for word in some) for some in (operands, sorted(operands)))
    question = expand(random, pick(random, SORTING), {"words": ", ".join(operands)})
    hint = ", ".join(word[0].upper() for word in operands)
    return Problem(question, f"{before}. {after}", hint, ", ".join(sorted(operands)))


def spelled_out(word: str) -> str:
    """Its letters, as capitals."""
    return " ".join(word.upper())


KINDS = (
    Kind("count", letter_and_word, counting, ordered=True),
    Kind("reverse", one_word, reversing, ordered=True),
    Kind("sort", some_words, sorting),
)
