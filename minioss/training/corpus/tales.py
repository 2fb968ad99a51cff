"""The tales: fairy tales and chapters of children's books, in the public domain, cleaned.

The file holds one paragraph a line. A tale is its title, its paragraphs, and an empty line.
"""

import lzma
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

PATH = Path(__file__).parent.parent / "data" / "tales.txt.xz"

# No other tale of the file tells the same story.
HELD_OUT = (
    "the fir tree",
    "the frog-prince",
    "the magic kettle",
    "the pirate ship",
    "the six hungry beasts",
    "the steadfast tin-soldier",
    "the two frogs",
    "the voice of death",
    "the winged monkeys",
    "the wolf and the seven little kids",
    "toads and diamonds",
    "when the sun went down",
)


class Tale(NamedTuple):
    """A tale: its title in lower case, and its text, one paragraph a line."""

    title: str
    text: str


def to_text(tales: Iterable[Tale]) -> str:
    """Tales as the file has them."""
    return "\n".join(f"{title}\n{text}\n" for title, text in tales)


@cache
def all_tales() -> tuple[Tale, ...]:
    """Every tale of the file."""
    entries = lzma.decompress(PATH.read_bytes()).decode("ascii").strip("\n").split("\n\n")
    return tuple(Tale(*entry.split("\n", 1)) for entry in entries)


@cache
def tales() -> list[str]:
    """The texts to train on."""
    return [text for title, text in all_tales() if title not in HELD_OUT]


@cache
def held_out_tales() -> list[str]:
    """The texts to judge by."""
    return [text for title, text in all_tales() if title in HELD_OUT]
