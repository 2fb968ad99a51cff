"""What a fault is, and the list of all of them.

A fault is a wrong twin of one marked function: it gets the right one, then the arguments. Its name
is the function's own, its block the file's that it stands in, and what is wrong its docstring.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One mistake.

    Parameters
    ----------
    name : kebab-case; it starts with what the mistake concerns
    block : which part of the model it belongs to
    wrong : one sentence: what is wrong
    official : one sentence: what the official code does
    seen : where a port had it; empty where none is known
    function : the marked function that the twin replaces
    twin : called with the right function, then its arguments
    """

    name: str
    block: str
    wrong: str
    official: str
    seen: str
    function: str
    twin: Callable


CATALOGUE: dict[str, Fault] = {}


def mistake(function: str, official: str, seen: str = "") -> Callable[[Callable], Callable]:
    """Enter a wrong twin of a marked function in the catalogue."""

    def enter(twin: Callable) -> Callable:
        name = twin.__name__.replace("_", "-")
        block = twin.__module__.rpartition(".")[2]
        CATALOGUE[name] = Fault(name, block, inspect.cleandoc(twin.__doc__), official, seen, function, twin)
        return twin

    return enter
