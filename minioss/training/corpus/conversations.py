"""Conversations in the harmony format: a prompt as `minioss.Chat` gives it, and one reply to it.

A reply is all that the model writes between two prompts: its reasoning, if the effort asks for some,
and then a call of a function or the final answer. The prompt is rendered just as in a chat, without
the reasoning of earlier turns, and does not count in the loss; the reply counts with every token.

**One form for calls.** The model writes a call as gpt-oss does, with the recipient behind the channel:
``<|channel|>commentary to=functions.multiply <|constrain|>json<|message|>…<|call|>``. The renderer puts
the recipient behind the role, so that is how the model reads its call again when the result has come.
Both are as with gpt-oss, so the parser, the renderer and the tools need not know which model it is.
"""

import json
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import tiktoken

from minioss.text.harmony.messages import Developer, Function, Message, Namespace, System
from minioss.text.harmony.rendering import render_prompt
from minioss.training.corpus import arithmetic, letters
from minioss.training.corpus.drawing import expand, pick
from minioss.training.corpus.functions import Offer, offer
from minioss.training.corpus.problem import Kind, Operands, Problem, draw, draw_operands
from minioss.training.corpus.talk import small_talk, story_on_demand

PROBLEMS = {kind.name: kind for kind in (*arithmetic.KINDS, *letters.KINDS)}

# How often a turn is of a kind. "multiply" and "weather" need a function; a product of the "table" does not.
KINDS = {
    "add": 0.18,
    "subtract": 0.2,
    "compare": 0.12,
    "count": 0.12,
    "reverse": 0.1,
    "sort": 0.08,
    "multiply": 0.1,
    "table": 0.02,
    "weather": 0.02,
    "talk": 0.03,
    "story": 0.03,
}
# Reasoning is what takes most practice.
EFFORTS = {"high": 0.6, "medium": 0.2, "low": 0.2}
SECOND_TURN = 0.2
OFFERED_WHEN_NEEDED, OFFERED_BESIDES, INSTRUCTED = 0.8, 0.2, 0.05

PRODUCTS = (
    "What is {a} times {b}?",
    "What is {a} * {b}?",
    "{a} * {b}",
    "{a} x {b} = ?",
    "Multiply {a} by {b}.",
    "Multiply {a} and {b}.",
    "How much is {a} times {b}?",
    "What is the product of {a} and {b}?",
    "[Please compute|Compute|Calculate] {a} * {b}.",
)
# Products of factors up to this are known by heart.
TABLE = 10
NO_PRODUCT = "I cannot multiply such numbers in my head. Offer me a function that can, and I will call it."
WEATHERS = ("How is the weather in {city}?", "What is the weather [like |]in {city}[ today|]?", "Is it warm in {city}?")
CITIES = "Oslo Paris London Rome Berlin Madrid Cairo Lima Tokyo Vienna Athens Dublin Prague Lisbon Bern Riga"
SKIES = ("rain", "sun", "snow", "clouds", "fog", "wind")
NO_WEATHER = "I cannot see the weather. Offer me a function that can, and I will call it."
INSTRUCTIONS = ("Be brief.", "Be kind.", "You are a helpful assistant.", "Answer the user's questions.", "Be honest.")
FIRST_DAY, DAYS = date(2024, 1, 1), 5000


class Example(NamedTuple):
    """Token ids, and for each whether the model is to learn to write it (1) or only reads it (0)."""

    ids: list[int]
    weights: list[int]


def factors(random: np.random.Generator) -> Operands:
    """Two numbers whose product is not known by heart."""
    a, b = (int(random.integers(2, pick(random, (100, 100, 1000)))) for _ in "ab")
    return (a, b) if max(a, b) > TABLE else factors(random)


def known_factors(random: np.random.Generator) -> Operands:
    """Two numbers whose product is."""
    return int(random.integers(2, TABLE + 1)), int(random.integers(2, TABLE + 1))


def product(random: np.random.Generator, operands: Operands) -> Problem:
    """A product as a problem: its reasoning and its answer for one who knows the result."""
    a, b = operands
    question = expand(random, pick(random, PRODUCTS), {"a": str(a), "b": str(b)})
    return Problem(question, f"{a} and {b} are small. I know the product by heart.", "I know it by heart.", str(a * b))


MULTIPLYING = Kind("multiply", factors, product)


def conversation(random: np.random.Generator) -> list[Message]:
    """A conversation of one turn or two, with the system message and, where there is one, the developer message."""
    kinds = [drawn(random, KINDS) for _ in range(1 + (random.random() < SECOND_TURN))]
    # A story before another question would fill the context.
    kinds = [*("talk" if kind == "story" else kind for kind in kinds[:-1]), kinds[-1]]
    effort = drawn(random, EFFORTS)
    offered = offered_for(random, kinds)
    turns = [message for kind in kinds for message in turn(random, kind, effort, offered)]
    return [*opening(random, effort, offered), *turns]


def offered_for(random: np.random.Generator, kinds: list[str]) -> Offer:
    """Functions that are often needed, and sometimes not."""
    product, weather = (
        random.random() < (OFFERED_WHEN_NEEDED if kind in kinds else OFFERED_BESIDES / 2)
        for kind in ("multiply", "weather")
    )
    nothing = not product and not weather and random.random() >= OFFERED_BESIDES
    return Offer() if nothing else offer(random, product, weather)


def opening(random: np.random.Generator, effort: str, offered: Offer) -> list[Message]:
    """The messages before the first turn, as `minioss.Chat` has them."""
    day = FIRST_DAY + timedelta(days=int(random.integers(DAYS)))
    messages = [Message("system", System(effort=effort, date=day.isoformat()))]
    instructions = pick(random, INSTRUCTIONS) if random.random() < INSTRUCTED else None
    namespaces = (Namespace("functions", offered.functions),) if offered.functions else ()
    if instructions is not None or namespaces:
        messages.append(Message("developer", Developer(instructions, namespaces)))
    return messages


def turn(random: np.random.Generator, kind: str, effort: str, offered: Offer) -> list[Message]:
    """A turn: the question, the reasoning, perhaps a call and its result, and the answer."""
    if kind == "multiply":
        return multiplying(random, draw_operands(random, MULTIPLYING), effort, offered.product)
    if kind == "weather":
        return asking_for_weather(random, effort, offered.weather)
    if kind == "table":
        problem = product(random, known_factors(random))
    elif kind == "talk":
        problem = small_talk(random)
    elif kind == "story":
        problem = story_on_demand(random)
    else:
        problem = draw(random, PROBLEMS[kind])
    return answered(problem, effort)


def answered(problem: Problem, effort: str) -> list[Message]:
    """A turn in which the model answers by itself."""
    return [Message("user", problem.question), *reasoning(problem, effort), final(problem.answer)]


def multiplying(
    random: np.random.Generator, operands: Operands, effort: str, function: Function | None
) -> list[Message]:
    """A turn about a product that the model does not know."""
    a, b = operands
    question = product(random, operands).question
    if function is None:
        problem = Problem(question, f"I do not know {a} times {b}, and I have no function.", "No function.", NO_PRODUCT)
        return answered(problem, effort)
    arguments = dict(zip(function.parameters["properties"], (a, b), strict=True))
    worked = f"I do not know {a} times {b}. I call {function.name}."
    return called(Problem(question, worked, f"I call {function.name}.", str(a * b)), effort, function, arguments)


def asking_for_weather(random: np.random.Generator, effort: str, function: Function | None) -> list[Message]:
    """A turn about the weather, which the model cannot know."""
    city = pick(random, CITIES.split())
    question = expand(random, pick(random, WEATHERS), {"city": city})
    if function is None:
        return answered(Problem(question, "I have no function for the weather.", "No function.", NO_WEATHER), effort)
    result = f"{pick(random, SKIES)}, {int(random.integers(-20, 40))} degrees"
    worked = f"I do not know the weather in {city}. I call {function.name}."
    return called(Problem(question, worked, f"I call {function.name}.", result), effort, function, {"city": city})


def called(problem: Problem, effort: str, function: Function, arguments: dict[str, int | str]) -> list[Message]:
    """A turn in which a function gives the answer."""
    name = f"functions.{function.name}"
    return [
        Message("user", problem.question),
        *reasoning(problem, effort),
        Message("assistant", json.dumps(arguments), "commentary", name, "<|constrain|>json"),
        Message("tool", problem.answer, "commentary", "assistant", name=name),
        final(problem.answer),
    ]


def reasoning(problem: Problem, effort: str) -> list[Message]:
    """As much as the effort asks for: all steps, a hint, nothing."""
    text = {"high": problem.worked, "medium": problem.hint, "low": None}[effort]
    return [] if text is None else [Message("assistant", text, "analysis")]


def final(text: str) -> Message:
    """The answer."""
    return Message("assistant", text, "final")


def drawn(random: np.random.Generator, shares: dict[str, float]) -> str:
    """A name, as often as its share says."""
    place = random.random() * sum(shares.values())
    for name, share in shares.items():
        place -= share
        if place < 0:
            return name
    return name


def example(random: np.random.Generator, messages: list[Message], encoding: tiktoken.Encoding) -> Example:
    """A conversation up to a reply of its last turn; of several one is drawn."""
    start, end = pick(random, replies(messages))
    prompt = render_prompt(messages[:start], encoding)
    reply = encoding.encode(written(messages[start:end]), allowed_special="all")
    return Example(prompt + reply, [0] * len(prompt) + [1] * len(reply))


def replies(messages: list[Message]) -> list[tuple[int, int]]:
    """Where the replies of the last turn begin and end."""
    found, start = [], None
    for place, message in enumerate(messages):
        if message.role == "user":
            found = []
        if message.role in ("user", "tool"):
            start = place + 1
        elif message.role == "assistant" and message.channel != "analysis":
            found.append((start, place + 1))
    return found


def written(reply: list[Message]) -> str:
    """A reply as the model writes it, after ``<|start|>assistant``."""
    return "<|start|>assistant".join(map(_written, reply))


def _written(message: Message) -> str:
    if message.recipient is not None:
        header = f"<|channel|>{message.channel} to={message.recipient} {message.content_type}"
        return f"{header}<|message|>{message.content}<|call|>"
    end = "<|return|>" if message.channel == "final" else "<|end|>"
    return f"<|channel|>{message.channel}<|message|>{message.content}{end}"
