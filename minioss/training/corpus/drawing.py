"""Drawing at random."""

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")

INNERMOST = re.compile(r"\[([^\[\]]*)\]")


def pick(random: np.random.Generator, items: Sequence[Item]) -> Item:
    """One of the items, each as probable as the others."""
    return items[int(random.integers(len(items)))]


def several(random: np.random.Generator, items: Sequence[Item], count: int) -> list[Item]:
    """Different ones of the items, in the order in which they were drawn."""
    return [items[place] for place in random.choice(len(items), count, replace=False)]


def expand(random: np.random.Generator, template: str, slots: Mapping[str, str]) -> str:
    """A text made from a template: ``[one|another]`` is one of its parts, ``{slot}`` what the slots hold.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> [expand(random, "[A|The [big|small]] {animal}", {"animal": "fox"}) for _ in range(3)]
    ['The small fox', 'A fox', 'A fox']
    """

    def chosen(found: re.Match[str]) -> str:
        return pick(random, found[1].split("|"))

    while "[" in template:
        template = INNERMOST.sub(chosen, template)
    return template.format_map(slots)
