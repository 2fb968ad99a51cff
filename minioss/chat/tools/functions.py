"""Any Python function as a tool: what the model is told comes from its signature and its docstring."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from minioss.chat.tools.docstrings import parameter_descriptions, summary
from minioss.chat.tools.kinds import Field, Kind, object_of, to_json
from minioss.chat.tools.tool import CallError, answer, json_arguments
from minioss.errors import InputError
from minioss.text.harmony.messages import Function, Message, Namespace


class Functions:
    """Functions that the model may call.

    The description of a function is the first paragraph of its docstring. Those of its parameters
    are in the section ``Parameters`` (numpydoc), or in ``Annotated[type, "description"]``. A type is
    str, int, float, bool, None, list, dict, Literal, Enum, a dataclass, a TypedDict, Any, or a union
    of these.

    Parameters
    ----------
    functions : with annotated parameters; a result that is no text is sent back as JSON

    Raises
    ------
    InputError
        Where the model cannot be told how to call one of them.

    Examples
    --------
    >>> def weather(city: str, days: int = 1) -> str:
    ...     '''The weather of the next days.'''
    ...     return f"{days} days of rain in {city}"
    >>> tool = Functions([weather])
    >>> tool.run(Message("assistant", '{"city": "Oslo"}', "commentary", "functions.weather")).content
    '1 days of rain in Oslo'
    >>> tool.run(Message("assistant", '{"days": 2}', "commentary", "functions.weather")).content
    'Error: `city` is missing. Expected city: string, days: integer'
    """

    built_in = False

    def __init__(self, functions: Iterable[Callable[..., Any]]) -> None:
        self._described: dict[str, Described] = {}
        for function in functions:
            described = describe(function)
            if described.function.name in self._described:
                raise InputError(f"there are two functions named {described.function.name}; expected different names")
            self._described[described.function.name] = described
        self.namespace = Namespace("functions", tuple(entry.function for entry in self._described.values()))

    def run(self, call: Message) -> Message:
        """Call the function that the model names, and answer with what it returns or raises."""
        try:
            return answer(call, self._result(call))
        except CallError as error:
            return answer(call, f"Error: {error}")
        except Exception as error:  # the function is not ours: whatever it raises is an answer
            return answer(call, f"{type(error).__name__}: {error}")

    def _result(self, call: Message) -> str:
        name = (call.recipient or "").partition(".")[2]
        if name not in self._described:
            raise CallError(f"there is no function {name!r}. Expected {', '.join(self._described) or 'no call'}")
        result = self._described[name].call(json_arguments(call))
        return result if isinstance(result, str) else to_json(result)


class Described(NamedTuple):
    """A Python function, and how the model is told to call it."""

    target: Callable[..., Any]
    signature: inspect.Signature
    function: Function
    arguments: Kind

    def call(self, arguments: dict[str, Any]) -> Any:
        """Call it with what the model wrote; a `CallError` says what does not fit."""
        bound = inspect.BoundArguments(self.signature, self.arguments.read(arguments, ""))
        bound.apply_defaults()
        return self.target(*bound.args, **bound.kwargs)


def describe(function: Callable[..., Any]) -> Described:
    """Read a function's signature and docstring.

    Raises
    ------
    InputError
        Where it has no usable name, or a parameter that JSON cannot carry.
    """
    name = getattr(function, "__name__", type(function).__name__)
    if not name.isidentifier():
        raise InputError(f"{function!r} has the name {name!r}; expected one that the model can write")
    if inspect.iscoroutinefunction(function):
        raise InputError(f"{name} is a coroutine; expected a plain function")
    try:
        signature = inspect.signature(function, eval_str=True)
    except (ValueError, TypeError, NameError) as error:
        raise InputError(f"the signature of {name} cannot be read: {error}") from None
    docstring = inspect.getdoc(function) or ""
    fields = _fields(name, signature, parameter_descriptions(docstring))
    arguments = object_of(fields, dict)
    described = Function(name, summary(docstring), arguments.schema if fields else None)
    return Described(function, signature, described, arguments)


def _fields(name: str, signature: inspect.Signature, descriptions: dict[str, str]) -> dict[str, Field]:
    fields = {}
    for parameter in signature.parameters.values():
        place = f"parameter {parameter.name!r} of {name}"
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise InputError(f"{place} takes any number of arguments; expected parameters with names")
        if parameter.annotation is parameter.empty:
            raise InputError(f"{place} has no annotation; expected one, such as {parameter.name}: str")
        field = Field(
            parameter.annotation,
            parameter.default,
            parameter.default is parameter.empty,
            descriptions.get(parameter.name),
        )
        try:
            object_of({parameter.name: field}, dict)
        except (InputError, RecursionError, NameError) as error:
            raise InputError(f"{place}: {error}") from None
        fields[parameter.name] = field
    return fields
