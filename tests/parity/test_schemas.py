"""A function can be called with exactly what its schema accepts, as the library jsonschema reads it."""

import inspect

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minioss.chat.tools.functions import describe
from minioss.chat.tools.tool import CallError
from tests.test_function_tool import annotations, json_values

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


@settings(max_examples=600)
@given(signatures(), st.dictionaries(st.sampled_from("abcd"), json_values, max_size=4))
def test_a_call_is_accepted_where_its_schema_is_met(signature, arguments):
    def record(*positional, **named):
        return signature.bind(*positional, **named).arguments

    record.__signature__ = signature
    described = describe(record)
    schema = any_of(described.function.parameters)
    jsonschema.Draft202012Validator.check_schema(schema)
    valid = jsonschema.Draft202012Validator(schema).is_valid(arguments)
    try:
        received = described.call(arguments)
    except CallError:
        assert not valid
        return
    assert valid
    assert {name for name, value in received.items() if value is not None} <= arguments.keys()
