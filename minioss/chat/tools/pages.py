"""Pages, as the browser shows them: numbered lines of at most 80 characters, and links that have numbers."""

import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

LINE_WIDTH = 80
LINK = re.compile(r"【\d+†([^†】]+)(?:†[^†】]+)?】")


@dataclass(frozen=True)
class Link:
    """Where a link leads: an address, and the line of the page there that matters."""

    address: str
    line: int = 0


@dataclass(frozen=True)
class Page:
    """A page.

    Parameters
    ----------
    address : what it is fetched by
    title : one line
    text : in it, ``【3†words】`` stands for link 3
    links : by number
    is_listing : whether it lists what a search found, and so has no text of its own
    """

    address: str
    title: str
    text: str
    links: tuple[Link, ...] = ()
    is_listing: bool = False

    @cached_property
    def lines(self) -> list[str]:
        """The text, wrapped; at least one line."""
        return [line for long in self.text.split("\n") for line in _wrap(long)]


def _wrap(line: str) -> list[str]:
    line = line.expandtabs()
    if len(line) <= LINE_WIDTH:  # most are, and textwrap is slow
        return [line]
    return textwrap.wrap(line, LINE_WIDTH, replace_whitespace=False, drop_whitespace=False)


def numbered(lines: list[str], first: int, end: int) -> str:
    """Lines ``first`` to ``end - 1`` with their numbers, as the model cites them."""
    return "\n".join(f"L{number}: {lines[number]}" for number in range(first, end))


def window_end(lines: list[str], first: int, count: int, size: int) -> int:
    """Where a window that begins at a line ends: after ``count`` lines, or ``size`` bytes, but not before one line."""
    last = min(first + count, len(lines))
    for number in range(first, last):
        size -= len(f"L{number}: {lines[number]}\n".encode("utf-8", "replace"))
        if size < 0 and number > first:
            return number
    return last


def passages(lines: list[str], longest: int = 20) -> Iterator[tuple[int, int]]:
    """The paragraphs, as (first line, end); long ones are cut, and a page without any is one by itself."""
    first = None
    for number, line in enumerate([*lines, ""]):
        if first is not None and (not line.strip() or number - first == longest):
            yield first, number
            first = None
        if first is None and line.strip():
            first = number
    if not any(map(str.strip, lines)):
        yield 0, len(lines)


def plain(text: str) -> str:
    """Text that holds no link of its own, so that a document cannot forge one, and no line end but ``\\n``."""
    return "\n".join(text.translate({ord("【"): "〖", ord("】"): "〗"}).splitlines())


def without_links(text: str) -> str:
    """The words of links in place of the links."""
    return LINK.sub(r"\1", text)


class Links:
    """Collects the links of a page while it is read.

    Parameters
    ----------
    resolve : gives the address that a reference leads to, or None where it leads to no page
    """

    def __init__(self, resolve: Callable[[str], str | None]) -> None:
        self._resolve = resolve
        self._addresses: list[str] = []

    def mark(self, words: str, reference: str) -> str:
        """The words, as a numbered link where the reference leads to a page."""
        words = " ".join(words.replace("†", "‡").split())
        address = self._resolve(reference)
        if address is None or not words:
            return words
        if address not in self._addresses:
            self._addresses.append(address)
        return f"【{self._addresses.index(address)}†{words}】"

    def all(self) -> tuple[Link, ...]:
        """The links in the order of their numbers."""
        return tuple(map(Link, self._addresses))
