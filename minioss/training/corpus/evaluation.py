"""Questions that the model has never seen, with their answers."""

from itertools import cycle, islice
from typing import NamedTuple
from zlib import crc32

import numpy as np

from minioss.text.harmony.messages import Message
from minioss.training.corpus.conversations import MULTIPLYING, PROBLEMS, answered, multiplying, opening
from minioss.training.corpus.functions import Offer, offer
from minioss.training.corpus.problem import Kind, Operands, draw_operands

KINDS = PROBLEMS | {"multiply": MULTIPLYING}
# So many draws for each question find all that is held out, where that is not enough: of the short words, 277.
DRAWS = 20


class Question(NamedTuple):
    """What the model is given, and what it should do.

    Parameters
    ----------
    messages : up to the user's question
    call : the call that it should make; None for none
    result : what the function answers; None where none is called
    answer : the final message
    """

    messages: list[Message]
    call: Message | None
    result: Message | None
    answer: str


def questions(name: str, effort: str, count: int = 500, functions: bool = False) -> list[Question]:
    """Held-out questions of a kind, all different; for every effort the same.

    Parameters
    ----------
    name : of one of `KINDS`
    effort : "high", "medium" or "low"
    count : how many
    functions : whether a function that multiplies is offered
    """
    random = np.random.default_rng([crc32(name.encode()), count])
    found: dict[str, Question] = {}
    for operands in held_out_operands(random, KINDS[name], count):
        question = _question(random, KINDS[name], operands, effort, functions)
        while question.messages[-1].content in found:  # of what is asked about twice, in another way
            question = _question(random, KINDS[name], operands, effort, functions)
        found[question.messages[-1].content] = question
    return list(found.values())


def held_out_operands(random: np.random.Generator, kind: Kind, count: int) -> list[Operands]:
    """What the questions are about, none of which was trained on. Where there are fewer than asked for, they come again."""
    found: dict[Operands, None] = {}
    for _ in range(DRAWS * count):
        if len(found) < count:
            found[draw_operands(random, kind, held_out=True)] = None
    return list(islice(cycle(found), count))


def _question(random: np.random.Generator, kind: Kind, operands: Operands, effort: str, functions: bool) -> Question:
    offered = offer(random, product=True, weather=False) if functions else Offer()
    start = opening(random, effort, offered)
    if kind is MULTIPLYING:
        turn = multiplying(random, operands, effort, offered.product)
    else:
        turn = answered(kind.problem(random, operands), effort)
    call = next((message for message in turn if message.recipient and message.role == "assistant"), None)
    result = next((message for message in turn if message.role == "tool"), None)
    return Question([*start, turn[0]], call, result, turn[-1].content)
