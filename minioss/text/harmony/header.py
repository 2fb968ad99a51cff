"""Reading the header of a message, well-formed or not.

A header is the tokens between ``<|start|>`` and ``<|message|>``: a role, and then, in this order
or nearly, a recipient, a channel and a content type:

    assistant<|channel|>commentary to=functions.weather <|constrain|>json
    assistant to=functions.weather<|channel|>commentary json
    functions.weather to=assistant<|channel|>commentary

Models make mistakes here: about one turn in 25 of the 20b, sampled at temperature 1, had one
(llama.cpp#27720). So nothing raises: what can be read is read, and the faults are told.
Whoever is neither system, developer, user nor assistant is a tool.

Source: openai/harmony, ``src/encoding.rs``, ``parse_header_from_string``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tiktoken

from minioss.text.harmony.messages import Message
from minioss.text.harmony.special import CONSTRAIN, SpecialTokens
from minioss.text.tokenizer import token_bytes

SPEAKERS = ("system", "developer", "user", "assistant")
CHANNELS = ("analysis", "commentary", "final")


class Word(NamedTuple):
    """A word of a header, and the special token right before it, if any."""

    marker: int | None
    text: str


def read_header(
    tokens: Sequence[int], role_is_known: bool, encoding: tiktoken.Encoding, special: SpecialTokens
) -> tuple[Message, list[str]]:
    """The message that a header announces, with no content yet, and what is wrong with the header.

    Parameters
    ----------
    tokens : those before ``<|message|>``
    role_is_known : the assistant's turn was opened before these tokens
    """
    words, faults = _words(tokens, encoding, special), []
    role, name = _speaker(words, role_is_known, faults)
    channels = [word.text for word in words if word.marker == special.channel]
    channel = _first(channels, "channel", faults)
    if channel not in (None, *CHANNELS):
        faults.append(f"the channel is {channel!r}, expected one of {', '.join(CHANNELS)}")
    others = [word for word in words if word.marker != special.channel]
    recipient, content_type = _recipient_and_type(others, faults)
    if role == "tool" and recipient is None:
        faults.append(f"the role is {name!r}, expected one of {', '.join(SPEAKERS)}, or a tool and to=assistant")
    return Message(role, "", channel, recipient, content_type, name), faults


def read_cut_header(
    tokens: Sequence[int], role_is_known: bool, encoding: tiktoken.Encoding, special: SpecialTokens
) -> Message:
    """The message of a header that no ``<|message|>`` ended.

    A model that forgets to begin the content writes it here. So all is content but a role and a channel
    that are known ones and stand in their places.
    """
    cut = next((place for place, token in enumerate(tokens) if token == special.channel), len(tokens))
    roles = ["assistant"] if role_is_known else SPEAKERS
    role, before = _leading(text_of(tokens[:cut], encoding), roles)
    channel, after = _leading(text_of(tokens[cut + 1 :], encoding), CHANNELS)
    return Message(role or "assistant", " ".join(filter(None, [before, after])), channel)


def _words(tokens: Sequence[int], encoding: tiktoken.Encoding, special: SpecialTokens) -> list[Word]:
    markers = [place for place, token in enumerate(tokens) if token in (special.channel, special.constrain)]
    ends = [*markers, len(tokens)]
    words = [Word(None, text) for text in text_of(tokens[: ends[0]], encoding).split()]
    for place, end in zip(markers, ends[1:], strict=True):
        # A special token without a word still counts.
        first, *others = text_of(tokens[place + 1 : end], encoding).split() or [""]
        words += [Word(tokens[place], first), *(Word(None, text) for text in others)]
    return words


def _speaker(words: list[Word], role_is_known: bool, faults: list[str]) -> tuple[str, str | None]:
    """Takes the role or the tool's name off the words."""
    if role_is_known:
        # Now and then a model says it again.
        if words[:1] == [Word(None, "assistant")]:
            words.pop(0)
        return "assistant", None
    first = words[0] if words else Word(None, "to=")
    role, _, name = first.text.partition(":")
    if first.marker is None and role in SPEAKERS:
        words.pop(0)
        return role, name or None
    if first.marker is not None or _is_recipient(first):
        faults.append("the role is missing, and assistant is taken")
        return "assistant", None
    return "tool", words.pop(0).text


def _recipient_and_type(words: list[Word], faults: list[str]) -> tuple[str | None, str | None]:
    recipients = [word.text.removeprefix("to=") for word in words if _is_recipient(word)]
    types = [CONSTRAIN + word.text for word in words if word.marker is not None]
    bare = [word.text for word in words if word.marker is None and not _is_recipient(word)]
    if len(bare) > (not recipients) + (not types):
        faults.append(f"{' '.join(bare)!r} is too much, expected to=RECIPIENT and a content type")
        bare = []
    if bare and not recipients:
        faults.append(f"{bare[0]!r} is taken for the recipient, expected to= before it")
        recipients.append(bare.pop(0))
    types += bare
    return _first(recipients, "recipient", faults), _first(types, "content type", faults)


def _is_recipient(word: Word) -> bool:
    return word.marker is None and word.text.startswith("to=")


def _first(found: list[str], what: str, faults: list[str]) -> str | None:
    if not found:
        return None
    if len(found) > 1:
        faults.append(f"the {what} is given {len(found)} times, and the first is taken")
    if not found[0]:
        faults.append(f"the {what} is empty, expected a word")
    return found[0] or None


def _leading(text: str, known: Sequence[str]) -> tuple[str | None, str]:
    """The first word and the rest, if the word is a known one."""
    first, *rest = text.split(maxsplit=1) or [""]
    return (first, "".join(rest)) if first in known else (None, text)


def text_of(tokens: Sequence[int], encoding: tiktoken.Encoding) -> str:
    """The text of tokens, special ones by their names."""
    return b"".join(token_bytes(encoding, token) for token in tokens).decode("utf-8", "replace")
