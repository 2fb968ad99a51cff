"""What a docstring says to the model: its first paragraph, and what each parameter is (numpydoc style)."""

import re
from itertools import takewhile

UNDERLINE = re.compile(r"-{3,}\s*")


def summary(docstring: str) -> str:
    """The first paragraph, on one line."""
    return " ".join(docstring.strip().partition("\n\n")[0].split())


def parameter_descriptions(docstring: str) -> dict[str, str]:
    """What the section ``Parameters`` says, by the parameter's name.

    Below ``name : type`` stands an indented description; in the short form, ``name : description``,
    nothing does.

    Examples
    --------
    >>> parameter_descriptions('''Add.
    ...
    ... Parameters
    ... ----------
    ... x, y : int
    ...     What to add.
    ... unit : of the result
    ... ''')
    {'x': 'What to add.', 'y': 'What to add.', 'unit': 'of the result'}
    """
    descriptions: dict[str, str] = {}
    for head, body in _entries(_section(docstring.splitlines(), "Parameters")):
        names, _, after = head.partition(" : ")
        for name in names.split(","):
            descriptions[name.strip().lstrip("*")] = body or after.strip()
    return descriptions


def _section(lines: list[str], title: str) -> list[str]:
    """The lines below an underlined title, up to the next one."""
    for index, (line, below) in enumerate(zip(lines, lines[1:]), 2):
        if line.strip() == title and UNDERLINE.fullmatch(below.strip()):
            following = zip(lines[index:], [*lines[index + 1 :], ""])
            return [line for line, below in takewhile(lambda pair: not UNDERLINE.fullmatch(pair[1].strip()), following)]
    return []


def _entries(lines: list[str]) -> list[tuple[str, str]]:
    """Each line at the margin, with what is indented below it."""
    entries: list[tuple[str, list[str]]] = []
    for line in filter(str.strip, lines):
        if not line[0].isspace():
            entries.append((line, []))
        elif entries:
            entries[-1][1].append(line.strip())
    return [(head, " ".join(body)) for head, body in entries]
