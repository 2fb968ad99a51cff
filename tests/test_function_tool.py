"""Functions as tools: what the model is told of them, and what it can call them with."""

import enum
import inspect
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minioss.chat.tools.docstrings import parameter_descriptions, summary
from minioss.chat.tools.functions import Functions
from minioss.chat.tools.kinds import kind_of
from minioss.chat.tools.tool import CallError
from minioss.errors import InputError
from minioss.text.harmony.messages import Message
from minioss.text.harmony.typescript import function_text


class Unit(enum.Enum):
    celsius = "C"
    fahrenheit = "F"


@dataclass
class Place:
    name: str
    height: Annotated[float, "in metres"] = 0.0
    tags: list[str] = field(default_factory=list)


class Options(TypedDict):
    exact: bool
    limit: NotRequired[int]


@dataclass
class Tree:
    children: "list[Tree]"


def weather(
    city: str, days: int = 3, unit: Unit = Unit.celsius, *, detail: Literal["low", "high"] | None = None
) -> str:
    """The weather of the next days,
    by city.

    More that the model need not know.

    Parameters
    ----------
    city : where
    days : int
        How many days;
        at most ten.
    unit : of the temperature

    Returns
    -------
    str : words
    """
    return f"{city} {days} {unit} {detail}"


def run(function, content, name=None):
    tool = Functions([function])
    name = name or tool.namespace.functions[0].name
    message = tool.run(Message("assistant", content, "commentary", f"functions.{name}", "<|constrain|>json"))
    assert (message.role, message.recipient, message.channel) == ("tool", "assistant", "commentary")
    assert message.name == f"functions.{name}"
    return message.content


# What the model is told


def test_a_function_is_described_by_its_signature_and_docstring():
    namespace = Functions([weather]).namespace
    (function,) = namespace.functions
    assert (namespace.name, namespace.description) == ("functions", None)
    assert (function.name, function.description) == ("weather", "The weather of the next days, by city.")
    assert function.parameters == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "where"},
            "days": {"type": "integer", "description": "How many days; at most ten.", "default": 3},
            "unit": {"type": "string", "enum": ["C", "F"], "description": "of the temperature", "default": "C"},
            "detail": {"oneOf": [{"type": "string", "enum": ["low", "high"]}, {"type": ["null"]}]},
        },
        "required": ["city"],
        "additionalProperties": False,
    }


def test_a_function_without_parameters():
    def now():
        return "noon"

    (function,) = Functions([now]).namespace.functions
    assert (function.description, function.parameters) == ("", None)
    assert run(now, "") == run(now, "{}") == "noon"
    assert run(now, '{"zone": 1}') == "Error: `zone` is not known. Expected no arguments"


PLACE = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "height": {"type": "number", "description": "in metres", "default": 0.0},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (None, {"type": ["null"]}),
        (Any, {}),
        (list, {"type": "array", "items": {}}),
        (list[list[int]], {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}),
        (dict, {"type": "object", "additionalProperties": {}}),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (str | int | None, {"type": ["string", "integer", "null"]}),
        (list[str] | None, {"oneOf": [{"type": "array", "items": {"type": "string"}}, {"type": ["null"]}]}),
        (Literal[1, 2], {"type": "integer", "enum": [1, 2]}),
        (Literal["a", 1], {"type": ["string", "integer"], "enum": ["a", 1]}),
        (Unit, {"type": "string", "enum": ["C", "F"]}),
        (Annotated[int, 7, "a number"], {"type": "integer", "description": "a number"}),
        (Place, PLACE),
        (
            Options,
            {
                "type": "object",
                "properties": {"exact": {"type": "boolean"}, "limit": {"type": "integer"}},
                "required": ["exact"],
                "additionalProperties": False,
            },
        ),
    ],
)
def test_schemas(annotation, schema):
    assert kind_of(annotation).schema == schema


def no_annotation(x):
    pass


def many(*numbers: int):
    pass


def unknown_type(x: Callable):
    pass


def wrong_keys(x: dict[int, str]):
    pass


def unknown_name(x: "Missing"):  # noqa: F821
    pass


def endless(x: Tree):
    pass


def odd_choice(x: Literal[b"a"]):
    pass


async def later():
    pass


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ([no_annotation], r"parameter 'x' of no_annotation has no annotation; expected one, such as x: str"),
        ([many], r"parameter 'numbers' of many takes any number of arguments"),
        ([unknown_type], r"parameter 'x' of unknown_type: .*Callable has no JSON schema"),
        ([wrong_keys], r"parameter 'x' of wrong_keys: a dict has keys of type <class 'int'>; expected str"),
        ([unknown_name], r"the signature of unknown_name cannot be read: name 'Missing' is not defined"),
        ([endless], r"parameter 'x' of endless: maximum recursion depth"),
        ([odd_choice], r"parameter 'x' of odd_choice: b'a' is no value of JSON"),
        ([later], r"later is a coroutine; expected a plain function"),
        ([lambda: 0], r"has the name '<lambda>'; expected one that the model can write"),
        ([weather, weather], r"there are two functions named weather"),
    ],
)
def test_what_cannot_be_described_is_refused(functions, message):
    with pytest.raises(InputError, match=message):
        Functions(functions)


def test_methods_and_callable_objects():
    class Counter:
        """Counts."""

        count = 0

        def add(self, number: int) -> int:
            """Add a number."""
            self.count += number
            return self.count

        def __call__(self, start: int):
            return start

    assert run(Counter().add, '{"number": 4}') == "4"
    assert run(Counter(), '{"start": 4}', "Counter") == "4"
    named = partial(weather, "Oslo")
    named.__name__ = "oslo"
    assert run(named, '{"days": 1}') == "Oslo 1 Unit.celsius None"


# Docstrings


def test_docstrings():
    assert summary("One.\nTwo.\n\nThree.") == "One. Two."
    assert summary("") == "" and parameter_descriptions("Nothing.") == {}
    assert parameter_descriptions(inspect.getdoc(weather)) == {
        "city": "where",
        "days": "How many days; at most ten.",
        "unit": "of the temperature",
    }


@given(st.text(st.sampled_from("ab :-\n,") | st.characters(), max_size=80), st.booleans())
def test_any_docstring_can_be_read(text, section):
    text = f"Parameters\n----------\n{text}" if section else text
    assert all(isinstance(words, str) for words in parameter_descriptions(text).values())
    assert "\n" not in summary(text)


# Calls


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"city": "Oslo"}', "Oslo 3 Unit.celsius None"),
        ('{"city": "Oslo", "days": 2.0, "unit": "F", "detail": "low"}', "Oslo 2 Unit.fahrenheit low"),
        ('{"city": "Oslo", "detail": null}', "Oslo 3 Unit.celsius None"),
        ("{}", "Error: `city` is missing. Expected city: string, days: integer, unit: one of"),
        ('{"town": "Oslo"}', "Error: `town` is not known; `city` is missing. Expected"),
        ('{"city": 3}', "Error: `city` is 3; expected string"),
        ('{"city": "Oslo", "days": "three"}', 'Error: `days` is "three"; expected integer'),
        ('{"city": "Oslo", "days": true}', "Error: `days` is true; expected integer"),
        ('{"city": "Oslo", "unit": "K"}', 'Error: `unit` is "K"; expected one of "C", "F"'),
        ('{"city": "Oslo", "detail": 1}', 'Error: `detail` is 1; expected one of "low", "high" Or: `detail` is 1; '),
        ('{"city": "Oslo"', "Error: the arguments are not valid JSON: Expecting"),
        ('["Oslo"]', "Error: the arguments are not a JSON object"),
        ('{"city": "Oslo", "days": NaN}', "Error: the arguments are not valid JSON: NaN is no number of JSON"),
        ("[" * 100_000, "Error: the arguments are not valid JSON: "),
        ('{"city": "Oslo", "days": ' + "1" * 5000 + "}", "Error: the arguments are not valid JSON: "),
    ],
)
def test_calls(content, expected):
    assert run(weather, content).startswith(expected)


def test_places_inside():
    def visit(places: list[Place], options: Options) -> str:
        return f"{places} {options}"

    good = '{"places": [{"name": "a", "height": 1}], "options": {"exact": true}}'
    assert run(visit, good) == "[Place(name='a', height=1.0, tags=[])] {'exact': True}"
    bad = '{"places": [{"name": "a"}, {"name": "b", "tags": ["c", 4]}], "options": {"exact": true}}'
    assert run(visit, bad) == "Error: `places[1].tags[1]` is 4; expected string"
    assert run(visit, '{"places": [{}], "options": {}}').startswith("Error: `places[0].name` is missing. Expected name")


def test_an_unknown_function():
    assert run(weather, "{}", "wether") == "Error: there is no function 'wether'. Expected weather"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is\n", "as it is\n"),
        (None, "null"),
        ([1, 2.5, "é"], '[1, 2.5, "é"]'),
        ({"a": Unit.celsius}, '{"a": "C"}'),
        (Place("x"), '{"name": "x", "height": 0.0, "tags": []}'),
        (np.arange(3), "[0, 1, 2]"),
        (np.float32(0.5), "0.5"),
        ({4}, "[4]"),
        (1 + 2j, '"(1+2j)"'),
        ("\ud800", "?"),
        ({(1, 2): 3}, "TypeError: keys must be"),
    ],
)
def test_results_are_text(value, text):
    def give() -> Any:
        return value

    assert run(give, "{}").startswith(text)


def test_what_a_function_raises_is_the_answer():
    def fail(how: str) -> None:
        raise KeyError(how)

    assert run(fail, '{"how": "badly"}') == "KeyError: 'badly'"


# Laws

SIMPLE = [str, int, float, bool, None, Any, Unit, Place, Options, Literal[1, "a", True], list, dict]
simple = st.sampled_from(SIMPLE)
annotations = simple | st.recursive(
    simple,
    lambda inner: (
        inner.map(lambda item: list[item])
        | inner.map(lambda item: dict[str, item])
        | inner.map(lambda item: Annotated[item, "words"])
        | st.tuples(inner, inner).map(lambda pair: pair[0] | pair[1] if None not in pair else pair[0])
    ),
    max_leaves=4,
)
written = st.recursive(
    st.sampled_from([str, int, float, bool, None, Unit, Place, Options, Literal["a", 1], Annotated[int, "words"]]),
    lambda inner: (
        inner.map(lambda item: list[item])
        | inner.map(lambda item: dict[str, item])
        | st.tuples(inner, inner).filter(lambda pair: pair != (None, None)).map(lambda pair: pair[0] | pair[1])
    ),
    max_leaves=5,
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["C", "a", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "exact", "limit", "tags"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=1500)
@given(annotations, json_values)
def test_what_is_read_is_of_the_type(annotation, value):
    try:
        result = kind_of(annotation).read(value, "x")
    except CallError as error:
        assert "x" in str(error)
        return
    if annotation in (int, float, str, bool):
        assert type(result) is annotation and result == value
    if annotation in (Unit, Place):
        assert isinstance(result, annotation)


@given(written, st.booleans())
def test_harmony_has_a_word_for_every_type(annotation, optional):
    default = None if optional else inspect.Parameter.empty
    parameter = inspect.Parameter("x", inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)

    def function(**arguments):
        pass

    function.__signature__ = inspect.Signature([parameter])
    text = function_text(Functions([function]).namespace.functions[0])
    assert not re.search(r"\bany\b", text.removesuffix(") => any;\n")), text


@settings(max_examples=300)
@given(st.text(max_size=30) | json_values.map(json.dumps), st.text(max_size=8) | st.just("weather"))
def test_whatever_the_model_says_there_is_an_answer(content, name):
    result = Functions([weather]).run(Message("assistant", content, "analysis", f"functions.{name}"))
    assert result.content.encode() and result.recipient == "assistant"
