"""From files to pages: Markdown, HTML, and any other text as it is."""

import re
from collections.abc import Callable
from html.parser import HTMLParser

from minioss.chat.tools.pages import Links, Page, plain

HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t#]*$", re.MULTILINE)
MARKDOWN_LINK = re.compile(r"(?<!!)\[([^\[\]\n]+)\]\(<?([^\s()<>]+)>?(?:\s+\"[^\"\n]*\")?\)")
BLOCKS = {"p", "div", "section", "article", "header", "footer", "main", "nav", "ul", "ol", "dl", "table", "blockquote"}
BLOCKS |= {"pre", "figure", "form", "hr"}
LINES = {"br", "tr", "dt", "dd", "title"}
HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}

Resolve = Callable[[str], str | None]


def read_page(address: str, text: str, resolve: Resolve) -> Page:
    """The page that a file holds, read as the ending of its name says.

    Parameters
    ----------
    address : of the page; a title where the text has none
    text : of the file
    resolve : gives the address that a reference leads to, or None
    """
    ending = address.lower().rpartition(".")[2]
    if ending in ("html", "htm", "xhtml"):
        return _read_html(address, plain(text), resolve)
    if ending in ("md", "markdown"):
        return _read_markdown(address, plain(text), resolve)
    return Page(address, address, plain(text))


def _read_markdown(address: str, text: str, resolve: Resolve) -> Page:
    links = Links(resolve)
    heading = HEADING.search(text)

    def replace(match: re.Match) -> str:
        return links.mark(match[1], match[2]) if resolve(match[2]) else match[0]

    return Page(address, heading[1] if heading else address, MARKDOWN_LINK.sub(replace, text), links.all())


def _read_html(address: str, text: str, resolve: Resolve) -> Page:
    reader = HtmlReader(resolve)
    reader.feed(text.replace("<![", "<! ["))  # html.parser raises on broken marked sections; so they are comments
    reader.close()
    return Page(address, " ".join(reader.title.split()) or address, reader.text(), reader.links.all())


class HtmlReader(HTMLParser):
    """The text of an HTML page, with blank lines between its blocks."""

    def __init__(self, resolve: Resolve) -> None:
        super().__init__()
        self.links = Links(resolve)
        self.title = ""
        self._pieces: list[str] = []
        self._tags = {"script": 0, "style": 0, "title": 0, "pre": 0}
        self._link: tuple[int, str] | None = None

    def text(self) -> str:
        """What was read so far."""
        lines = "\n".join(map(str.rstrip, "".join(self._pieces).split("\n")))
        return re.sub(r"\n{3,}", "\n\n", lines).strip("\n")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin what the tag begins: `HTMLParser` calls it."""
        if tag in self._tags:
            self._tags[tag] += 1
        if tag in BLOCKS or tag in HEADINGS:
            self._pieces.append("\n\n" + (HEADINGS[tag] + " " if tag in HEADINGS else ""))
        elif tag in LINES or tag == "li":
            self._pieces.append("\n  * " if tag == "li" else "\n")
        elif tag in ("td", "th"):
            self._pieces.append(" ")
        reference = dict(attrs).get("href")
        if tag == "a" and reference:
            self._link = (len(self._pieces), reference)

    def handle_endtag(self, tag: str) -> None:
        """End what the tag began: `HTMLParser` calls it."""
        if self._tags.get(tag):
            self._tags[tag] -= 1
        if tag in BLOCKS or tag in HEADINGS:
            self._pieces.append("\n\n")
        elif tag == "a" and self._link is not None:
            first, reference = self._link
            self._pieces[first:] = [self.links.mark("".join(self._pieces[first:]), reference)]
            self._link = None

    def handle_data(self, data: str) -> None:
        """Take text, unless it is a script's or a style's: `HTMLParser` calls it."""
        if self._tags["script"] or self._tags["style"]:
            return
        if self._tags["title"]:
            self.title += data
            return
        if not self._tags["pre"]:
            data = re.sub(r"\s+", " ", data)
            at_margin = not self._pieces or self._pieces[-1].endswith(("\n", " "))
            data = data.lstrip() if at_margin else data
        if data:
            self._pieces.append(data)
