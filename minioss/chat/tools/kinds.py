"""Python types as JSON schemas: each kind of type stands here with the reader that its schema promises.

The schemas are those that harmony can render: a union is a list of ``type`` or a ``oneOf``, since
``anyOf`` would read ``any``, and null is ``{"type": ["null"]}`` for the same reason.
"""

import dataclasses
import inspect
import json
import types
from collections.abc import Callable, Mapping
from enum import Enum
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from minioss.chat.tools.tool import CallError
from minioss.errors import InputError

NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}


class Kind(NamedTuple):
    """A type: its JSON schema, and how a JSON value becomes a value of it.

    ``read(value, place)`` raises a `CallError` that names the place where the value does not fit.
    """

    schema: dict[str, Any]
    read: Callable[[Any, str], Any]


class Field(NamedTuple):
    """A named value of an object: an argument of a function, a field of a dataclass."""

    annotation: Any
    default: Any = inspect.Parameter.empty
    required: bool = True
    description: str | None = None


def kind_of(annotation: Any) -> Kind:
    """The kind of a type.

    Raises
    ------
    InputError
        Where JSON has nothing like it.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return Kind({}, lambda value, place: value)
    if origin is Annotated:
        return _annotated(*arguments)
    if origin in (Required, NotRequired):
        return kind_of(arguments[0])
    if origin is Literal:
        return _choice(arguments, arguments)
    if origin in (Union, types.UnionType):
        return _union([kind_of(member) for member in arguments])
    if annotation is list or origin is list:
        return _list(kind_of(*arguments or [Any]))
    if annotation is dict or origin is dict:
        return _dictionary(*arguments or (str, Any))
    return _class(annotation)


def object_of(fields: Mapping[str, Field], build: Callable[..., Any]) -> Kind:
    """The kind of an object with these fields; ``build`` is called with those that are given."""
    kinds = {name: kind_of(field.annotation) for name, field in fields.items()}
    required = [name for name, field in fields.items() if field.required]
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: kinds[name].schema | _remarks(field) for name, field in fields.items()},
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }

    def read(value: Any, place: str) -> Any:
        _expect(isinstance(value, dict), value, schema, place)
        inside = f"{place}." if place else ""
        problems = [f"`{inside}{name}` is not known" for name in value if name not in fields]
        problems += [f"`{inside}{name}` is missing" for name in required if name not in value]
        if problems:
            known = ", ".join(f"{name}: {_words(kind.schema)}" for name, kind in kinds.items())
            raise CallError(f"{'; '.join(problems)}. Expected {known or 'no arguments'}")
        return build(**{name: kinds[name].read(item, inside + name) for name, item in value.items()})

    return Kind(schema, read)


def to_json(value: Any) -> str:
    """A value as JSON text: dataclasses are objects, arrays and sets are lists, the unknown is its ``str``."""
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if hasattr(value, "tolist"):
        return value.tolist()
    return list(value) if isinstance(value, (set, frozenset)) else str(value)


def _remarks(field: Field) -> dict[str, Any]:
    remarks = {} if field.description is None else {"description": field.description}
    if field.default is not inspect.Parameter.empty and field.default is not None:
        remarks["default"] = json.loads(to_json(field.default))
    return remarks


def _annotated(inner: Any, *notes: Any) -> Kind:
    kind = kind_of(inner)
    description = next((note for note in notes if isinstance(note, str)), None)
    return kind if description is None else Kind(kind.schema | {"description": description}, kind.read)


def _class(annotation: Any) -> Kind:
    annotation = types.NoneType if annotation is None else annotation
    if not isinstance(annotation, type):
        raise InputError(f"{annotation} has no JSON schema")
    if annotation in NAMES:
        return _simple(annotation)
    if issubclass(annotation, Enum):
        return _choice([member.value for member in annotation], list(annotation))
    if is_typeddict(annotation):
        hints = get_type_hints(annotation, include_extras=True)
        required = annotation.__required_keys__
        return object_of({name: Field(hint, required=name in required) for name, hint in hints.items()}, dict)
    if dataclasses.is_dataclass(annotation):
        return object_of(_dataclass_fields(annotation), annotation)
    raise InputError(f"{annotation.__name__} has no JSON schema")


def _dataclass_fields(cls: type) -> dict[str, Field]:
    hints = get_type_hints(cls, include_extras=True)
    missing = dataclasses.MISSING
    return {
        field.name: Field(
            hints[field.name],
            default=inspect.Parameter.empty if field.default is missing else field.default,
            required=field.default is missing and field.default_factory is missing,
        )
        for field in dataclasses.fields(cls)
        if field.init
    }


def _simple(cls: type) -> Kind:
    name = NAMES[cls]
    schema = {"type": ["null"] if name == "null" else name}

    def read(value: Any, place: str) -> Any:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if cls is float and number:
            return _as_float(value, schema, place)
        if cls is int and number:
            _expect(isinstance(value, int) or value.is_integer(), value, schema, place)
            return int(value)
        _expect(type(value) is cls, value, schema, place)
        return value

    return Kind(schema, read)


def _as_float(value: int | float, schema: dict[str, Any], place: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise CallError(f"`{place}` is too large for a {_words(schema)}") from None


def _choice(values: list[Any] | tuple[Any, ...], members: list[Any] | tuple[Any, ...]) -> Kind:
    """One of some JSON values, each of which stands for a member."""
    for value in values:
        if type(value) not in NAMES:
            raise InputError(f"{value!r} is no value of JSON; expected a choice between strings, numbers or booleans")
    names = list(dict.fromkeys(NAMES[type(value)] for value in values))
    schema = {"type": names[0] if len(names) == 1 else names, "enum": list(values)}

    def read(value: Any, place: str) -> Any:
        for own, member in zip(values, members):
            if own == value and isinstance(own, bool) == isinstance(value, bool):  # 1 == True in Python, not in JSON
                return member
        raise _mismatch(value, schema, place)

    return Kind(schema, read)


def _union(kinds: list[Kind]) -> Kind:
    if all(set(kind.schema) == {"type"} for kind in kinds):
        named = (kind.schema["type"] for kind in kinds)
        schema = {"type": [name for names in named for name in ([names] if isinstance(names, str) else names)]}
    else:
        schema = {"oneOf": [kind.schema for kind in kinds]}

    def read(value: Any, place: str) -> Any:
        errors = []
        for kind in kinds:
            try:
                return kind.read(value, place)
            except CallError as error:
                errors.append(str(error))
        raise CallError(" Or: ".join(errors))

    return Kind(schema, read)


def _list(item: Kind) -> Kind:
    schema = {"type": "array", "items": item.schema}

    def read(value: Any, place: str) -> list[Any]:
        _expect(isinstance(value, list), value, schema, place)
        return [item.read(element, f"{place}[{index}]") for index, element in enumerate(value)]

    return Kind(schema, read)


def _dictionary(key: Any, item: Any) -> Kind:
    if key is not str:
        raise InputError(f"a dict has keys of type {key}; expected str, as in JSON")
    kind = kind_of(item)
    schema = {"type": "object", "additionalProperties": kind.schema}

    def read(value: Any, place: str) -> dict[str, Any]:
        _expect(isinstance(value, dict), value, schema, place)
        return {name: kind.read(element, f"{place}[{name!r}]") for name, element in value.items()}

    return Kind(schema, read)


def _expect(fits: bool, value: Any, schema: dict[str, Any], place: str) -> None:
    if not fits:
        raise _mismatch(value, schema, place)


def _mismatch(value: Any, schema: dict[str, Any], place: str) -> CallError:
    found = json.dumps(value, ensure_ascii=False)
    return CallError(f"`{place}` is {found if len(found) <= 80 else found[:77] + '...'}; expected {_words(schema)}")


def _words(schema: dict[str, Any]) -> str:
    """A schema in a few words."""
    if "oneOf" in schema:
        return " or ".join(map(_words, schema["oneOf"]))
    if "enum" in schema:
        return "one of " + ", ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"array of {_words(schema['items'])}"
    names = schema.get("type", "anything")
    return names if isinstance(names, str) else " or ".join(names)
