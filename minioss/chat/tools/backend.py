"""What the browser browses: something that can be searched, and gives pages by their address."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from minioss.chat.tools.pages import Page

VIEW_SOURCE = "view-source:"


class Found(NamedTuple):
    """A page that fits a search.

    Parameters
    ----------
    title, address : of the page
    snippet : text of it; the beginning is shown
    line : of the page, where the passage begins that fits
    """

    title: str
    address: str
    snippet: str
    line: int = 0


class Backend(Protocol):
    """A source of pages. Whatever it raises is told to the model.

    Attributes
    ----------
    source : its name, as the model is told it
    """

    source: str

    def search(self, query: str, topn: int) -> Sequence[Found]:
        """At most ``topn`` pages, the best first."""
        ...

    def fetch(self, address: str) -> Page:
        """The page at an address; where that begins with ``view-source:``, its source as it is."""
        ...
