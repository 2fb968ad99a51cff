"""Functions that a developer message offers: one that multiplies, one that tells the weather, and others."""

from typing import NamedTuple

import numpy as np

from minioss.text.harmony.messages import Function
from minioss.training.corpus.drawing import pick, several

PRODUCT_NAMES = ("multiply", "multiply", "multiply", "product", "times", "mul", "multiply_numbers")
PRODUCT_PARAMETERS = (("a", "b"), ("a", "b"), ("x", "y"), ("first", "second"), ("left", "right"), ("n", "m"))
PRODUCT_DESCRIPTIONS = (
    "Multiply two numbers.",
    "The product of two numbers.",
    "Multiplies two integers and returns the result.",
    "Calculates a product.",
    "Returns the product of both numbers.",
)
WEATHER_NAMES = ("weather", "get_weather", "current_weather")
WEATHER_DESCRIPTIONS = ("The weather in a city.", "Tells the weather of a place.", "Get the current weather.")
OTHERS = (
    ("search", "Search for a text.", {"query": "string"}),
    ("translate", "Translate a text into another language.", {"text": "string", "language": "string"}),
    ("set_timer", "Ring after some minutes.", {"minutes": "number"}),
    ("send_message", "Send a message to a person.", {"to": "string", "text": "string"}),
    ("roll_dice", "Roll a die.", {"sides": "number"}),
    ("time_in", "The time in a city.", {"city": "string"}),
    ("play_music", "Play a song.", {"title": "string"}),
)


class Offer(NamedTuple):
    """The functions of a conversation, and which of them, if any, multiplies or tells the weather."""

    functions: tuple[Function, ...] = ()
    product: Function | None = None
    weather: Function | None = None


def offer(random: np.random.Generator, product: bool, weather: bool) -> Offer:
    """Functions in any order: those that are asked for, and up to two others."""
    multiplying = _multiplying(random) if product else None
    telling = _function(pick(random, WEATHER_NAMES), pick(random, WEATHER_DESCRIPTIONS), {"city": "string"})
    others = [_function(*other) for other in several(random, OTHERS, pick(random, (0, 0, 1, 2)))]
    functions = [function for function in (multiplying, telling if weather else None) if function] + others
    return Offer(tuple(several(random, functions, len(functions))), multiplying, telling if weather else None)


def _multiplying(random: np.random.Generator) -> Function:
    kind = pick(random, ("integer", "number"))
    parameters = dict.fromkeys(pick(random, PRODUCT_PARAMETERS), kind)
    return _function(pick(random, PRODUCT_NAMES), pick(random, PRODUCT_DESCRIPTIONS), parameters)


def _function(name: str, description: str, parameters: dict[str, str]) -> Function:
    properties = {parameter: {"type": kind} for parameter, kind in parameters.items()}
    schema = {"type": "object", "properties": properties, "required": list(parameters)}
    return Function(name, description, schema)
