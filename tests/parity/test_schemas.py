"""A function can be called with exactly what its schema accepts, as the library jsonschema reads it."""

import inspect

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minioss.chat.tools.functions import describe
from minioss.chat.tools.kinds import kind_of
from minioss.chat.tools.tool import CallError
from tests.test_function_tool import SIMPLE, Place, annotations, json_values

jsonschema = pytest.importorskip("jsonschema")

KINDS = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
NO_DEFAULT = inspect.Parameter.empty


@st.composite
def signatures(draw):
    """Up to three parameters of all kinds; after one with a default all have one, as Python wants it."""
    kinds = sorted(draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=3)))
    required = draw(st.integers(0, len(kinds)))
    return inspect.Signature(
        [
            inspect.Parameter(name, kind, default=NO_DEFAULT if i < required else None, annotation=draw(annotations))
            for i, (name, kind) in enumerate(zip("abc", kinds))
        ]
    )


def any_of(schema):
    """The schema with ``anyOf`` for ``oneOf``: harmony renders the second alone, and a value may fit two types."""
    if isinstance(schema, dict):
        return {"anyOf" if key == "oneOf" else key: any_of(value) for key, value in schema.items()}
    return [any_of(item) for item in schema] if isinstance(schema, list) else schema


VALUES = [None, True, False, 0, 1, -1, 2.0, 0.5, 1e300, "", "a", "C", [], [1], ["a"], {}, {"a": 1}, {"name": "a"}]
VALUES += [{"exact": True}, {"exact": 1}, {"name": "a", "height": 1, "tags": ["b"]}, {"name": "a", "tags": [1]}]


def accepts(schema, value):
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(any_of(schema)).is_valid(value)


@pytest.mark.parametrize("annotation", [*SIMPLE, list[int], dict[str, float], Place | None, int | str, list[int] | str])
def test_a_type_takes_the_values_that_its_schema_accepts(annotation):
    kind = kind_of(annotation)
    for value in VALUES:
        try:
            kind.read(value, "x")
        except CallError:
            assert not accepts(kind.schema, value), value
        else:
            assert accepts(kind.schema, value), value


@settings(max_examples=600)
@given(signatures(), st.dictionaries(st.sampled_from("abcd"), json_values, max_size=4))
def test_a_call_is_accepted_where_its_schema_is_met(signature, arguments):
    def record(*positional, **named):
        return signature.bind(*positional, **named).arguments

    record.__signature__ = signature
    described = describe(record)
    valid = accepts(described.function.parameters, arguments)
    try:
        received = described.call(arguments)
    except CallError:
        assert not valid
        return
    assert valid
    assert {name for name, value in received.items() if value is not None} <= arguments.keys()
