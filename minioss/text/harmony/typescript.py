"""Tools as the model reads them: JSON schemas written as types in the manner of TypeScript.

A function becomes ``type name = (_: {...}) => any;``, its description and its arguments' become
comments. What TypeScript has no word for in this form (``anyOf``, ``$ref``, ``const``, numbers'
limits) is ``any`` or left out. Oddities of the official text are kept, for the model was trained
on it: a comment of several lines is marked on its first line only, and an array of a union is
written ``string | number[]``.

Source: openai/harmony, ``src/encoding.rs``, ``json_schema_to_typescript`` and
``template_tools_section``.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from minioss.errors import InputError
from minioss.text.harmony.messages import Function, Namespace

TYPES = {"string": "string", "number": "number", "integer": "number", "boolean": "boolean"}
LARGEST, SMALLEST = 2**64 - 1, -(2**63)


def tools_text(namespaces: Iterable[Namespace]) -> str:
    """The section ``# Tools`` of a system or developer message, namespaces in the order of their names.

    Raises
    ------
    InputError
        Where two namespaces have one name.
    """
    namespaces = sorted(namespaces, key=lambda namespace: namespace.name)
    for name, count in Counter(namespace.name for namespace in namespaces).items():
        if count > 1:
            raise InputError(f"{count} namespaces of a message are named {name!r}; expected one")
    return "\n\n".join(["# Tools", *map(_namespace, namespaces)])


def _namespace(namespace: Namespace) -> str:
    lines = [f"## {namespace.name}\n"]
    comment = "// " if namespace.functions else ""
    lines += [comment + line for line in _lines(namespace.description or "")]
    if namespace.functions:
        lines += [f"namespace {namespace.name} {{\n", *map(function_text, namespace.functions)]
        lines += [f"}} // namespace {namespace.name}"]
    return "\n".join(lines)


def function_text(function: Function) -> str:
    """A function's type.

    Examples
    --------
    >>> parameters = {"properties": {"city": {"type": "string"}, "days": {"type": "integer", "default": 3}}}
    >>> print(function_text(Function("forecast", "The weather.", parameters | {"type": "object"})))
    // The weather.
    type forecast = (_: {
    city?: string,
    days?: number, // default: 3
    }) => any;
    <BLANKLINE>
    """
    arguments = "" if function.parameters is None else f"_: {type_text(function.parameters)}"
    lines = [f"// {line}" for line in _lines(function.description)]
    return "\n".join([*lines, f"type {function.name} = ({arguments}) => any;\n"])


def type_text(schema: Any, indent: str = "") -> str:
    """The type that a JSON schema describes.

    Parameters
    ----------
    schema : JSON schema; what is not a mapping (``true``) is ``any``
    indent : what stands before each line of an object or union

    Examples
    --------
    >>> type_text({"type": "array", "items": {"type": ["integer", "null"]}})
    'number | null[]'
    """
    schema = _mapping(schema)
    kind = schema.get("type")
    if (variants := _variants(schema)) is not None:
        return "".join(f"\n{_variant(each, indent, each.get('description'), json_text)}" for each in variants)
    if isinstance(kind, list | tuple):
        return " | ".join(TYPES.get(name, name) for name in kind if isinstance(name, str)) or "any"
    if kind == "object":
        return _object(schema, indent)
    if kind == "array":
        return f"{type_text(schema['items'], indent)}[]" if "items" in schema else "Array<any>"
    if kind == "string" and (names := [f'"{name}"' for name in schema.get("enum") or () if isinstance(name, str)]):
        return " | ".join(names)
    return TYPES.get(str(kind), "any")


def _object(schema: Mapping[str, Any], indent: str) -> str:
    required = schema.get("required") or ()
    properties = _mapping(schema.get("properties")).items()
    lines = [_property(name, _mapping(value), name in required, indent) for name, value in properties]
    return f"{_comment(schema.get('description'), indent)}{{\n{''.join(lines)}{indent}}}"


def _property(name: str, schema: Mapping[str, Any], required: bool, indent: str) -> str:
    title, description = (_comment(schema.get(key), indent) for key in ("title", "description"))
    title += f"{indent}//\n" if title else ""
    start = f"{indent}{name}{'' if required else '?'}:"
    if _variants(schema) is not None:
        return f"{title}{_examples(schema, indent)}{_union(schema, start, indent)}"
    default = f" // default: {_default(schema)}" if "default" in schema else ""
    kind = _or_null(schema, indent + "    ")
    return f"{title}{description}{_examples(schema, indent)}{start} {kind},{default}\n"


def _union(schema: Mapping[str, Any], start: str, indent: str) -> str:
    """A property of several types. A description is written once: of the property, or else of a variant."""
    variants, description = _variants(schema), schema.get("description")
    above = "" if variants and variants[0].get("description") == description else _comment(description, indent)
    lines = [above]
    lines += [f"{indent}// default: {_default(schema)}\n"] if "default" in schema else []
    lines += [f"{start}\n"]
    for place, variant in enumerate(variants):
        told = (place == 0 and above) or variant.get("description") == description
        lines.append(_variant(variant, indent, None if told else variant.get("description")) + "\n")
    return "".join([*lines, f"{indent},\n"])


def _variant(schema: Mapping[str, Any], indent: str, description: Any, enum_default: Callable[[Any], str] = str) -> str:
    comments = [description] if isinstance(description, str) else []
    comments += [f"default: {_default(schema, enum_default)}"] if "default" in schema else []
    return f"{indent} | {_or_null(schema, indent + '   ')}{' // ' if comments else ''}{' '.join(comments)}"


def _or_null(schema: Mapping[str, Any], indent: str) -> str:
    kind = type_text(schema, indent)
    return f"{kind} | null" if schema.get("nullable") is True and "null" not in kind else kind


def _examples(schema: Mapping[str, Any], indent: str) -> str:
    """Those that are strings."""
    examples = schema.get("examples")
    if not isinstance(examples, list | tuple) or not examples:
        return ""
    lines = [f'{indent}// - "{example}"\n' for example in examples if isinstance(example, str)]
    return "".join([f"{indent}// Examples:\n", *lines])


def _default(schema: Mapping[str, Any], enum_default: Callable[[Any], str] = str) -> str:
    """A string in quotes; one of an enumeration as ``enum_default`` writes it; anything else as JSON."""
    default = schema["default"]
    if not isinstance(default, str):
        return json_text(default)
    return enum_default(default) if schema.get("enum") else f'"{default}"'


def json_text(value: Any) -> str:
    """Compact JSON, with numbers written as Rust's serde_json does.

    Examples
    --------
    >>> json_text({"a": [1e-5, 1e16, True]})
    '{"a":[0.00001,1e16,true]}'
    """
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json_text(str(key))}:{json_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(json_text, value)) + "]"
    if isinstance(value, int) and not SMALLEST <= value <= LARGEST:
        value = float(value)
    if isinstance(value, float):
        mantissa, _, exponent = repr(value).partition("e")
        if exponent == "-05":
            return format(Decimal(repr(value)), "f")
        return f"{mantissa}e{int(exponent)}" if exponent else mantissa
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError:
        raise InputError(f"a schema holds {value!r}; expected what JSON can hold") from None


def _comment(text: Any, indent: str) -> str:
    return f"{indent}// {text}\n" if isinstance(text, str) else ""


def _variants(schema: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    variants = schema.get("oneOf")
    return [_mapping(variant) for variant in variants] if isinstance(variants, list | tuple) else None


def _mapping(schema: Any) -> Mapping[str, Any]:
    return schema if isinstance(schema, Mapping) else {}


def _lines(text: str) -> list[str]:
    """Lines as Rust cuts them: at line feeds alone, and none after the last."""
    lines = re.split("\r?\n", text)
    return lines[:-1] if not lines[-1] else lines
