"""Books as plain text files, made into the tales that the package carries.

    python -m minioss.training.corpus.cleaning FOLDER minioss/training/data/tales.txt.xz

FOLDER holds the twelve public-domain books of `BOOKS`, without the digitisers' headers. What is cut:
all before the text itself and after its end, headings, footnotes and their marks, the sources that
editors name, remarks in square brackets, rows of stars, the underscores of italics. What is changed:
a paragraph becomes one line of ASCII, speech stands in double quotes, words in capitals are written as
others are. A tale is what stands between two headings: a fairy tale, or a chapter of a longer story.
"""

import lzma
import re
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from minioss.checkpoint.whole import whole
from minioss.training.corpus.tales import Tale, to_text

NUMBER = r"(?:\d+|[IVXL]+)"
CHAPTER = rf"(?:CHAPTER|Chapter) {NUMBER}\b.*"
CAPITALS = rf"[^a-z]*[A-Z][^a-z]*|{NUMBER}\. .*|(?:\w+) STORY\. .*"
TITLE_CASE = r"[A-Z][^.!?‘’“”]{2,60}"
# These go on with the tale that they stand in.
PART = rf"{NUMBER}\b\.?.*|CHAPTER.*|\w+(?:ST|ND|RD|TH) STORY\b.*"


class Book(NamedTuple):
    """The heading with which the text begins, what its headings look like, whether parts of a tale have some too."""

    first: str
    heading: str = CAPITALS
    parts: bool = True


BOOKS = {
    "alice-s-adventures-in-wonderland": Book("CHAPTER I. Down the Rabbit-Hole", CHAPTER, parts=False),
    "andersen-s-fairy-tales": Book("THE EMPEROR'S NEW CLOTHES"),
    "grimms-fairy-tales": Book("THE GOLDEN BIRD"),
    "peter-pan": Book("Chapter 1 PETER BREAKS THROUGH", CHAPTER, parts=False),
    "the-adventures-of-pinocchio": Book("CHAPTER 1", CHAPTER, parts=False),
    "the-blue-fairy-book": Book("THE BRONZE RING"),
    "the-crimson-fairy-book": Book("Lovely Ilonka", TITLE_CASE),
    "the-red-fairy-book": Book("THE TWELVE DANCING PRINCESSES"),
    "the-secret-garden": Book("CHAPTER I", CHAPTER, parts=False),
    "the-violet-fairy-book": Book("A TALE OF THE TONTLAWALD"),
    "the-wonderful-wizard-of-oz": Book("1.  The Cyclone", r"\d+\. .*", parts=False),
    "the-yellow-fairy-book": Book("THE CAT AND THE MOUSE IN PARTNERSHIP"),
}
END = r"THE END|\*{5}|C\. Collodi--.*"
NOTE = r"\(\d+\)|\[|\*|\(From |\(Adapted|(?:Story f|F)rom .{,60}[.)]$|\(.*\)$"


def main() -> None:
    """Read the books, write the tales."""
    folder, out = map(Path, sys.argv[1:])
    tales = [tale for name, book in BOOKS.items() for tale in read(folder / f"{name}.txt", book)]
    with whole(out, "file", 0) as partial:
        partial.write_bytes(lzma.compress(to_text(tales).encode("ascii"), preset=9 | lzma.PRESET_EXTREME))


def read(path: Path, book: Book) -> Iterator[Tale]:
    """The tales of one book."""
    text = path.read_text(encoding="utf-8")
    body = text[[found.start() for found in re.finditer(rf"(?m)^{re.escape(book.first)}$", text)][-1] :]
    body = re.split(rf"(?m)^\s*(?:{END})\s*$", body)[0]
    return tales_of(body, book)


def tales_of(body: str, book: Book) -> Iterator[Tale]:
    """Cut a text at its headings, and clean what is between them."""
    single = len(re.findall(r"‘|(?<!\w)'(?=\w)", body)) > body.count("“") + body.count('"') // 2
    for title, blocks in sections(body, book):
        if re.fullmatch(f"CHAPTER {NUMBER}", title):
            title, *blocks = blocks
        lines = [text for block in blocks if not re.match(NOTE, block) and (text := tidy(block, single))]
        if lines:
            yield Tale(plain(title), "\n".join([begun(lines[0]), *lines[1:]]))


def sections(body: str, book: Book) -> list[tuple[str, list[str]]]:
    """Each heading with the paragraphs under it, as they are but for the ends of lines."""
    found: list[tuple[str, list[str]]] = []
    for gap, block in re.findall(r"((?:[ \t]*\n)*)((?:[ \t]*\S.*\n?)+)", body):
        line = " ".join(block.split())
        first_below = not found or not found[-1][1]
        if not (is_heading(block, book) and (first_below or gap.count("\n") > 1)):
            found[-1][1].append(line)
        elif not (book.parts and re.fullmatch(PART, line)):
            found.append((line, []))
    return found


def is_heading(block: str, book: Book) -> bool:
    """Whether a block of lines is a heading of this book, and no more."""
    return len(block.splitlines()) <= 2 and re.fullmatch(book.heading, " ".join(block.split())) is not None


def plain(title: str) -> str:
    """A title without marks and numbers, in lower case."""
    title = re.sub(rf"\s*[(\[].*|^(?:chapter )?{NUMBER}\b\.?|[^\w' -]|_", "", to_ascii(title), flags=re.IGNORECASE)
    return title.strip().lower()


def tidy(line: str, single: bool) -> str:
    r"""A paragraph as it is read: no marks of an editor, plain quotes, no shouting.

    Parameters
    ----------
    line : the paragraph, joined
    single : the book puts speech in single quotes, which become double ones

    Examples
    --------
    >>> tidy("‘It is _so_,’ she said--‘I don’t like dogs’ tails AT ALL.’(1)", single=True)
    '"It is so," she said - "I don\'t like dogs\' tails at all."'
    """
    line = re.sub(r"\s*\((?:\d+)\)|\s*\[[^\]]*\]|\*|_", "", line)
    line = to_ascii(in_double_quotes(line) if single else line)
    line = re.sub(r"\s*-{2,}\s*", " - ", line)
    line = re.sub(r"\b[A-Z]{2,}\b", lambda word: unshouted(word, line), line)
    line = re.sub(r"\s+([,.;:!?])", r"\1", line)
    return " ".join(line.split())


def in_double_quotes(line: str) -> str:
    """Speech in double quotes where it was in single ones, and the reverse within it; apostrophes stay."""
    line = re.sub(r"‘(?=(?:tis|twas|twill|twere|em)\b)", "’", line, flags=re.IGNORECASE)
    line = re.sub('[“”"]', "\0", line)
    line = re.sub(r"‘([^‘’.,!?;:]+)’(?!\w)", r'"\1"', line)
    line = re.sub(r"‘|(?<![\w.,!?;:’'-])'(?=\w)", '"', line)
    line = re.sub(r"(?<=[.,!?;:\0-])[’'](?!\w)", '"', line)
    return line.replace("\0", "'")


def to_ascii(line: str) -> str:
    """Typographic signs and accents as the nearest ASCII."""
    table = {"[": "(", "`": "'", "‘": "'", "’": "'", "“": '"', "”": '"', "—": "--", "œ": "oe"}
    decomposed = unicodedata.normalize("NFKD", line.translate(str.maketrans(table)))
    return decomposed.encode("ascii", "ignore").decode()


def unshouted(word: re.Match[str], line: str) -> str:
    """A word in capitals as it stands elsewhere: with one where a sentence begins, otherwise without."""
    starts = not re.search(r"[\w,;:]['\"]?\s*-?\s*['\"]?$", line[: word.start()])
    return word[0].capitalize() if starts else word[0].lower()


def begun(line: str) -> str:
    """The first paragraph of a tale, from its first letter on."""
    return line[0].upper() + line[1:]


if __name__ == "__main__":
    main()
