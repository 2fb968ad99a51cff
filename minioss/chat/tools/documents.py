"""A folder of documents to browse, without any network.

The folder is read once, when it is given: what can be opened is what was read then, so no name that
the model makes up leads out of it.
"""

import difflib
import os
import posixpath
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np

from minioss.chat.tools.backend import VIEW_SOURCE, Found
from minioss.chat.tools.bm25 import Index
from minioss.chat.tools.pages import Page, passages, plain, without_links
from minioss.chat.tools.reading import read_page
from minioss.errors import InputError

LARGEST_FILE = 2**21
LARGEST_FOLDER = 2**26


class Documents:
    """The text files of a folder and of the folders in it, as a backend of the browser.

    Left out are hidden names, symbolic links, and files that are larger than 2 MiB, no UTF-8 text or
    unreadable; `left_out` says why. An address is the path below the folder, such as ``guide/rope.md``.

    Parameters
    ----------
    folder : Markdown and HTML are read as such, everything else as plain text

    Raises
    ------
    InputError
        Where the folder cannot be read, holds no text, or more than 64 MiB of it.

    Attributes
    ----------
    left_out : for each file that was left out, why
    """

    source = "documents"

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder; expected one that holds documents")
        self.left_out: dict[str, str] = {}
        self._texts = self._read(folder)
        if not self._texts:
            raise InputError(f"{folder} holds no text; expected documents (left out: {self._why()})")
        self._pages = {address: self._page(address, text) for address, text in self._texts.items()}
        self._passages = [(page, *ends) for page in self._pages.values() for ends in passages(page.lines)]
        self._index = Index(f"{page.title}\n{_text(page, first, end)}" for page, first, end in self._passages)

    def search(self, query: str, topn: int) -> list[Found]:
        """The documents that fit the query best, each with its best passage."""
        scores = self._index.scores(query)
        found: dict[str, Found] = {}
        for number in np.argsort(-scores, kind="stable"):
            if scores[number] == 0 or len(found) == topn:
                break
            page, first, end = self._passages[number]
            found.setdefault(page.address, Found(page.title, page.address, _text(page, first, end), first))
        return list(found.values())

    def fetch(self, address: str) -> Page:
        """A document by its address, or its file as it is where the address begins with ``view-source:``."""
        if address in self._pages:
            return self._pages[address]
        name = _normal(address.removeprefix(VIEW_SOURCE))
        if name not in self._pages:
            close = ", ".join(difflib.get_close_matches(name[:200], self._pages, 3))
            raise LookupError(f"there is no document {address!r}" + (f"; close: {close}" if close else ""))
        if address.startswith(VIEW_SOURCE):
            return Page(address, name, plain(self._texts[name]))
        return self._pages[name]

    def _read(self, folder: Path) -> dict[str, str]:
        texts, size = {}, 0

        def leave_out(path: str | Path, reason: str) -> None:
            self.left_out[Path(path).relative_to(folder).as_posix()] = reason

        for path in _files(folder, leave_out):
            try:
                text = _read_text(path)
            except InputError as error:
                leave_out(path, str(error))
                continue
            except OSError as error:
                leave_out(path, error.strerror)
                continue
            texts[path.relative_to(folder).as_posix()] = text
            size += len(text)
            if size > LARGEST_FOLDER:
                raise InputError(
                    f"{folder} holds more than {LARGEST_FOLDER >> 20} MiB of text; expected a smaller folder"
                )
        return texts

    def _page(self, address: str, text: str) -> Page:
        def resolve(reference: str) -> str | None:
            target = _target(address, reference)
            return target if target in self._texts else None

        return read_page(address, text, resolve)

    def _why(self) -> str:
        return "; ".join(f"{address}: {reason}" for address, reason in list(self.left_out.items())[:5]) or "nothing"


def _text(page: Page, first: int, end: int) -> str:
    return without_links("\n".join(page.lines[first:end]))


def _files(folder: Path, leave_out: Callable[[str, str], None]) -> Iterator[Path]:
    """All files in the order of their names, but for hidden ones and links."""
    for here, folders, names in os.walk(folder, onerror=lambda error: leave_out(error.filename, error.strerror)):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(here, name)
            if not name.startswith(".") and not path.is_symlink():
                yield path


def _read_text(path: Path) -> str:
    if not path.is_file():
        raise InputError("no regular file")
    with path.open("rb") as file:
        data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise InputError(f"larger than {LARGEST_FILE >> 20} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("no UTF-8 text") from None
    if "\0" in text:
        raise InputError("binary")
    return text


def _normal(address: str) -> str:
    """An address as the model may write it: with a scheme, a leading slash or a fragment."""
    return posixpath.normpath(unquote(address.removeprefix("file://").partition("#")[0]).lstrip("/"))


def _target(address: str, reference: str) -> str | None:
    """Where a relative reference in a document leads."""
    try:
        parts = urlsplit(reference)
    except ValueError:
        return None
    if parts.scheme or parts.netloc or not parts.path:
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(address), unquote(parts.path)))
