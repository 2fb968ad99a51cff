"""Labels of tokens: short, on one line, and safe to draw whatever the token is."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from minioss.errors import InputError
from minioss.plots.style import number, pyplot
from minioss.text.display import harmless
from minioss.text.tokenizer import token_bytes

if TYPE_CHECKING:
    import tiktoken
    from matplotlib.axis import Axis

LONGEST = 13
# More tokens than these are numbered, since their labels would overlap.
LABELLED_TOKENS = 32
VISIBLE_SPACE = str.maketrans({" ": "␣", "\n": "↵", "\r": "↵", "\t": "⇥"})
MISSING_GLYPH = "□"


def token_labels(ids: Iterable[int], encoding: "tiktoken.Encoding", longest: int = LONGEST) -> list[str]:
    """A short label of each token, on one line and safe to draw.

    Spaces and line ends are made visible; characters that the font lacks become □, bytes that are no
    whole character �.

    Parameters
    ----------
    ids : tokens
    encoding : the tokenizer
    longest : how many characters a label may have

    Raises
    ------
    InputError
        Where matplotlib, which knows the font, is missing.
    """
    pyplot()
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties())).get_charmap()
    texts = (token_bytes(encoding, token).decode("utf-8", "replace").translate(VISIBLE_SPACE) for token in ids)
    return [drawable(text if len(text) <= longest else text[: longest - 1] + "…", known) for text in texts]


def drawable(text: str, known: Mapping[int, int]) -> str:
    """The text without control characters and unknown ones; a dollar sign starts no formula."""
    text = "".join(each if ord(each) in known else MISSING_GLYPH for each in harmless(text))
    return text.replace("$", r"\$")


def label_tokens(axis: "Axis", labels: Sequence[str] | None, count: int) -> None:
    """Mark ``count`` tokens by their labels, or number them where there are no labels or too many.

    Raises
    ------
    InputError
        Where there is another number of labels.
    """
    if labels is not None and len(labels) != count:
        raise InputError(f"there are {len(labels)} labels for {count} tokens; expected as many")
    if labels is None or count > LABELLED_TOKENS:
        number(axis, range(count), most=10)
    else:
        axis.set_ticks(range(count), labels)
