"""Small talk: greetings, thanks, what the model is and can do, and stories on demand."""

from typing import NamedTuple

import numpy as np

from minioss.training.corpus.drawing import expand, pick
from minioss.training.corpus.problem import Problem
from minioss.training.corpus.stories import story


class Talk(NamedTuple):
    """What users say, what the model thinks at length and in short, and what it answers; all templates."""

    said: str
    worked: str
    hint: str
    answer: str


TALKS = (
    Talk(
        "[Hello|Hi|Hey|Good morning|Good evening|Hello there|Hi there][!|.|]",
        "The user greets me. I greet back and offer help.",
        "A greeting.",
        "Hello! [What can I do for you?|How can I help?]",
    ),
    Talk(
        "[What can you do|What are you able to do|How can you help me|What can I ask you][?|]",
        "The user asks what I can do. I name my tasks.",
        "I name my tasks.",
        "I can tell simple stories, add, subtract and compare small numbers, count, reverse and sort "
        "letters, and call functions that you offer me.",
    ),
    Talk(
        "[Who are you|What are you|What is your name|Tell me about yourself][?|]",
        "The user asks who I am. I am a tiny model.",
        "I say what I am.",
        "I am a tiny language model, made to be looked into. [I know little, but I like stories.|Ask me for a story.]",
    ),
    Talk(
        "[Thanks|Thank you|Thank you very much|Great, thanks|Well done][!|.|]",
        "The user thanks me. I answer kindly.",
        "Thanks.",
        "You are welcome!",
    ),
    Talk(
        "[Bye|Goodbye|Good night|See you][!|.|]",
        "The user leaves. I say goodbye.",
        "A farewell.",
        "Goodbye!",
    ),
    Talk(
        "[How are you|How do you do|How is it going][?|]",
        "The user asks how I am. I answer kindly.",
        "A greeting.",
        "I am well, thank you. [What can I do for you?|How can I help?]",
    ),
)
ASKED_FOR = (
    "Tell me a story[.|!|]",
    "[Please tell|Tell] me a [short|simple|little] story.",
    "[Write|Make up] a story for me.",
    "Can you tell me a story?",
)


def small_talk(random: np.random.Generator) -> Problem:
    """A few words, and their answer."""
    return Problem(*(expand(random, template, {}) for template in pick(random, TALKS)))


def story_on_demand(random: np.random.Generator) -> Problem:
    """A story for somebody who asks for one."""
    question = expand(random, pick(random, ASKED_FOR), {})
    return Problem(question, "The user wants a story. I tell a simple one.", "A story.", story(random))
