"""From tokens to text, as they come: whole characters only, and never past a stop string."""

import codecs
from collections.abc import Iterable, Iterator, Sequence

import tiktoken

from minioss.errors import InputError
from minioss.text.tokenizer import token_bytes


class TextStream:
    """Turns tokens into text, one at a time.

    A token may end in the middle of a character: its bytes wait for the rest. Text that could
    be the start of a stop string waits until it is clear.

    Parameters
    ----------
    encoding : the tokenizer
    stop_strings : the text ends before the first of these to be complete

    Raises
    ------
    InputError
        Where a stop string is empty.

    Examples
    --------
    >>> from minioss.checkpoint.tokenizer_json import byte_vocabulary
    >>> from minioss.text.tokenizer import from_vocabulary
    >>> stream = TextStream(from_vocabulary(byte_vocabulary(), "bytes", None), ["END"])
    >>> [stream.push(byte) for byte in "aé E.ENDb".encode()], stream.stopped
    (['a', '', 'é', ' ', '', 'E.', '', '', '', ''], True)
    """

    def __init__(self, encoding: tiktoken.Encoding, stop_strings: Sequence[str] = ()) -> None:
        if "" in stop_strings:
            raise InputError("a stop string is empty; expected at least one character")
        self._encoding = encoding
        self._stop_strings = stop_strings
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """Take one token; return the text that is certain now."""
        return self._release(self._decoder.decode(token_bytes(self._encoding, token)), final=False)

    def finish(self) -> str:
        """Return what is still held, after the last token."""
        return self._release(self._decoder.decode(b"", final=True), final=True)

    def _release(self, new: str, final: bool) -> str:
        if self.stopped:
            return ""
        text = self._held + new
        found = [(place + len(stop), place) for stop in self._stop_strings if (place := text.find(stop)) >= 0]
        self.stopped = bool(found)
        end = min(found)[1] if found else len(text) - (0 if final else self._undecided(text))
        self._held = text[end:]
        return text[:end]

    def _undecided(self, text: str) -> int:
        """How many characters at the end could be the start of a stop string."""
        return max(
            (size for stop in self._stop_strings for size in range(1, len(stop)) if text.endswith(stop[:size])),
            default=0,
        )


def stream_text(tokens: Iterable[int], encoding: tiktoken.Encoding, stop_strings: Sequence[str] = ()) -> Iterator[str]:
    """The text of a stream of tokens, piece by piece.

    Parameters
    ----------
    tokens : ids, as they come
    encoding : the tokenizer
    stop_strings : the text ends before the first of these to be complete

    Yields
    ------
    str
        What is certain by now: whole characters, at least one.

    Raises
    ------
    InputError
        Where a stop string is empty.
    """
    stream = TextStream(encoding, stop_strings)
    for token in tokens:
        if piece := stream.push(token):
            yield piece
        if stream.stopped:
            return
    if piece := stream.finish():
        yield piece
