"""What a trained model can do, on questions that it has not seen: greedy, with nothing to help it.

A question is asked in the harmony format, and the model writes one reply. If that calls a function,
the function's result is given and it writes another.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

import tiktoken

from minioss.model import Model
from minioss.text.generation import generate_batch
from minioss.text.harmony.messages import Message
from minioss.text.harmony.parsing import Parser
from minioss.text.harmony.rendering import render_prompt
from minioss.training.corpus.evaluation import Question

TOGETHER = 64
LONGEST_REPLY = 160


class Abilities(NamedTuple):
    """Shares of the questions of one kind.

    Parameters
    ----------
    questions : how many
    right : answered right, by a call where the question needs one
    well_formed : every message of every reply was well-formed, and the reply ended by itself
    called : a function was called
    reasoning : mean number of tokens in a reply before its last message
    """

    questions: int
    right: float
    well_formed: float
    called: float
    reasoning: float


class Reply(NamedTuple):
    """What the model wrote: its messages, whether they are well-formed, and how many tokens came before the last."""

    messages: list[Message]
    well_formed: bool
    reasoning: int


def abilities(model: Model, encoding: tiktoken.Encoding, questions: Sequence[Question]) -> Abilities:
    """Ask all questions, and judge the answers."""
    first = replies(model, encoding, [question.messages for question in questions])
    with_results = {
        place: [*question.messages, *reply.messages, question.result]
        for place, (question, reply) in enumerate(zip(questions, first, strict=True))
        if question.call is not None and calls_as(reply, question.call)
    }
    second = dict(zip(with_results, replies(model, encoding, list(with_results.values())), strict=True))
    right = sum(
        is_right(question, second.get(place, reply)) for place, (question, reply) in enumerate(zip(questions, first))
    )
    written = [*first, *second.values()]
    return Abilities(
        len(questions),
        right / len(questions),
        sum(reply.well_formed for reply in written) / len(written),
        sum(recipient(reply) is not None for reply in first) / len(questions),
        sum(reply.reasoning for reply in first) / len(questions),
    )


def replies(model: Model, encoding: tiktoken.Encoding, conversations: Sequence[Sequence[Message]]) -> list[Reply]:
    """The model's next reply in each conversation."""
    prompts = [render_prompt(messages, encoding) for messages in conversations]
    found = []
    for first in range(0, len(prompts), TOGETHER):
        some = prompts[first : first + TOGETHER]
        rows = list(generate_batch(model, some, max_new_tokens=LONGEST_REPLY, temperature=0.0))
        tokens = [[int(row[place]) for row in rows if row[place] is not None] for place in range(len(some))]
        found += [read(model, encoding, said) for said in tokens]
    return found


def read(model: Model, encoding: tiktoken.Encoding, tokens: Sequence[int]) -> Reply:
    """The messages of a reply."""
    parser, reasoning = Parser(encoding), 0
    for place, token in enumerate(tokens):
        complete = len(parser.messages)
        parser.push(token)
        if len(parser.messages) > complete and place + 1 < len(tokens):
            reasoning = place + 1
    parser.finish()
    notes = any(message.note for message in parser.messages)
    return Reply(parser.messages, not notes and tokens[-1] in model.stop_tokens, reasoning)


def recipient(reply: Reply) -> str | None:
    """Whom the last message calls."""
    return reply.messages[-1].recipient if reply.messages else None


def calls_as(reply: Reply, call: Message) -> bool:
    """Whether a reply ends in a call of the same function with the same arguments."""
    if recipient(reply) != call.recipient:
        return False
    try:
        return json.loads(reply.messages[-1].content) == json.loads(call.content)
    except ValueError:
        return False


def is_right(question: Question, reply: Reply) -> bool:
    """Whether the last message is the answer."""
    last = reply.messages[-1] if reply.messages else Message("assistant", "")
    return last.channel == "final" and last.recipient is None and last.content == question.answer
