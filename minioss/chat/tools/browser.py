"""The tool ``browser``: search, open a page, find in it, with the conventions that the model was trained on.

Each answer shows a window of one page under a header; its first number is the cursor by which the
model comes back to the page and cites it, as in ``【0†L9-L11】``:

    [0] RMSNorm (rmsnorm.md)
    **viewing lines [0 - 24] of 61**

    L0: # RMSNorm

Source: openai/gpt-oss, ``gpt_oss/tools/simple_browser``.
"""

import dataclasses
import re
from collections.abc import Sequence
from urllib.parse import quote, unquote, urlsplit

from minioss.chat.tools.backend import VIEW_SOURCE, Backend, Found
from minioss.chat.tools.functions import describe
from minioss.chat.tools.pages import Link, Page, numbered, window_end, without_links
from minioss.chat.tools.tool import CallError, answer, json_arguments
from minioss.text.harmony.builtin import BROWSER
from minioss.text.harmony.messages import Message

# The reference implementation shows 1024 tokens. Of numbered lines a token is about three bytes, and never less than one.
VIEW = 3072
LONGEST_VIEW = 4 * VIEW  # where the model asks for more lines
MOST_RESULTS = 20
MOST_MATCHES = 50
MATCH_LINES = 4
LINES_BEFORE = 4
FIND = "/find?pattern="
CITATION = re.compile(r"【(\d{1,9})†[^【】]*】")
SOURCES = "sources=web (default: web)"


class Browser:
    """Pages of a backend, for the model.

    Parameters
    ----------
    backend : such as `minioss.chat.tools.documents.Documents`
    """

    built_in = True

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._shown: list[Page] = []
        self._actions = {name: describe(getattr(self, name)) for name in ("search", "open", "find")}
        description = BROWSER.description.replace(SOURCES, f"sources={backend.source}")
        self.namespace = dataclasses.replace(BROWSER, description=description)

    def run(self, call: Message) -> Message:
        """Do what the model asks for, and answer with a window of the page."""
        name = (call.recipient or "").partition(".")[2]
        try:
            if name not in self._actions:
                raise CallError(f"browser has no function {name!r}. Expected {', '.join(self._actions)}")
            return answer(call, self._actions[name].call(json_arguments(call)))
        except Exception as error:  # a CallError, or whatever the backend raises
            return answer(call, f"Error: {str(error) or type(error).__name__}")

    # The signatures below are what the model was trained on. It may name a source: here there is one.

    def search(self, query: str, topn: int = 10, source: str | None = None) -> str:
        """Show a list of pages that fit the query."""
        found = self._backend.search(query, min(max(topn, 1), MOST_RESULTS))
        return self._show(_results(query, found))

    def open(
        self,
        id: int | str = -1,
        cursor: int = -1,
        loc: int = -1,
        num_lines: int = -1,
        view_source: bool = False,
        source: str | None = None,
    ) -> str:
        """Show a page: that of a link, that at an address, or another window of one that was shown."""
        if isinstance(id, str):
            page, line = self._backend.fetch(id), 0
        else:
            page, line = self._page(cursor), 0
            if id >= 0:
                link = _link(page, id)
                page, line = self._backend.fetch(link.address), max(0, link.line - LINES_BEFORE)
        if view_source and not page.address.startswith(VIEW_SOURCE):
            page = self._backend.fetch(VIEW_SOURCE + page.address)
        return self._show(page, line if loc < 0 else loc, num_lines)

    def find(self, pattern: str, cursor: int = -1) -> str:
        """Show where a page has the pattern."""
        page = self._page(cursor)
        if page.is_listing:
            raise CallError("this page is a list of results. Expected a page opened from it")
        if not pattern.strip():
            raise CallError("the pattern is empty. Expected some text")
        return self._show(_matches(pattern, page))

    def cited(self, text: str) -> dict[str, str]:
        """The citations in a text, each with the address of the page that it cites."""
        pages = {
            match[0]: self._shown[number]
            for match in CITATION.finditer(text)
            if (number := int(match[1])) < len(self._shown)
        }
        addresses = {citation: page.address.partition(FIND)[0] for citation, page in pages.items()}
        return {citation: address for citation, address in addresses.items() if address}

    def _page(self, cursor: int) -> Page:
        if not self._shown:
            raise CallError("no page is open. Expected a search, or an `id` that is an address")
        if cursor >= len(self._shown) or cursor < -1:
            raise CallError(f"there is no cursor {cursor}. Expected 0 to {len(self._shown) - 1}")
        return self._shown[cursor]

    def _show(self, page: Page, first: int = 0, count: int = -1) -> str:
        """A window of a page, which then has the next cursor."""
        last = len(page.lines) - 1
        if first > last:
            raise CallError(f"`loc` is {first}. Expected 0 to {last}, the lines of the page")
        count, size = (count, LONGEST_VIEW) if count > 0 else (len(page.lines), VIEW)
        end = window_end(page.lines, first, count, size)
        self._shown.append(page)
        address = f" ({_short(unquote(page.address))})" if page.address else ""
        header = f"[{len(self._shown) - 1}] {_short(page.title)}{address}"
        return f"{header}\n**viewing lines [{first} - {end - 1}] of {last}**\n\n{numbered(page.lines, first, end)}"


def _short(text: str, longest: int = 200) -> str:
    """On one line, and not too long for a header."""
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 3] + "..."


def _link(page: Page, id: int) -> Link:
    if id >= len(page.links):
        expected = f"0 to {len(page.links) - 1}" if page.links else "an address, for the page has no links"
        raise CallError(f"there is no link {id} on this page. Expected {expected}")
    return page.links[id]


def _results(query: str, found: Sequence[Found]) -> Page:
    lines = [
        f"  * 【{number}†{_words(entry.title)}†{_domain(entry)}】 {_words(entry.snippet)}"
        for number, entry in enumerate(found)
    ]
    text = "\n".join(["# Search Results", "", *(lines or [f"Nothing fits `{_short(query)}`. Try other words."])])
    return Page("", query, text, tuple(Link(entry.address, entry.line) for entry in found), is_listing=True)


def _words(title: str) -> str:
    """Words of a page that can stand in or beside a link."""
    return _short(title.translate({ord("【"): "〖", ord("】"): "〗", ord("†"): "‡"}))


def _domain(entry: Found) -> str:
    """Whose page it is; of a document, its address."""
    return _words(urlsplit(entry.address).netloc or entry.address)


def _matches(pattern: str, page: Page) -> Page:
    """The lines that hold the pattern, whatever the case of its letters, each with those below it."""
    lines = without_links("\n".join(page.lines)).split("\n")
    found, number = [], 0
    while number < len(lines) and len(found) < MOST_MATCHES:
        matches = pattern.lower() in lines[number].lower()
        if matches:
            found.append(number)
        number += MATCH_LINES if matches else 1
    texts = [
        "\n".join([f"# 【{count}†match at L{number}】", *lines[number : number + MATCH_LINES]])
        for count, number in enumerate(found)
    ]
    return Page(
        f"{page.address}{FIND}{quote(pattern, errors='replace')}",
        f"Find results for text: `{pattern}` in `{page.title}`",
        "\n\n".join(texts) or f"No `find` results for pattern: `{_short(pattern)}`",
        tuple(Link(page.address, number) for number in found),
        is_listing=True,
    )
