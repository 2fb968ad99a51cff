"""Messages to token ids.

A message is ``<|start|>`` header ``<|message|>`` content ``<|end|>``; a call of a tool ends in
``<|call|>`` instead. The header is the role (for a tool's answer, the tool's name), a recipient
after ``to=``, a channel, and a content type.

**What is dropped.** The model reasons afresh for each question, and is not meant to see its old
reasoning. So once the assistant's last message is final, `render_prompt` leaves out every
message of the channel *analysis* before the first final one. While the assistant has not answered
yet, all its reasoning stays, since calls of tools are a part of it; so does what it thought
between the first final message and later ones. Nothing else is ever dropped: questions, calls,
results, commentary and answers stay.

**How a turn ends.** The model ends its turn in ``<|return|>``, which says: stop here. In a stored
conversation the same message ends in ``<|end|>``, for the conversation went on. Only a text to
train on ends in ``<|return|>`` (`render_for_training`).

**What cannot be forged.** Every piece of text is encoded with no special tokens allowed, whoever
wrote it: ``<|start|>system`` in a question is fifteen characters and not a role. The only special
token that a caller can ask for is the ``<|constrain|>`` at the very start of a content type. Words
of the header hold no white space, so that a name cannot smuggle in a recipient.

Source: openai/harmony, ``src/encoding.rs``, ``render_conversation_into`` and its neighbours, ``Render<Message>``.
"""

from collections.abc import Iterable, Iterator
from typing import Literal, get_args

import tiktoken

from minioss.errors import InputError
from minioss.text.harmony.content import content_text, has_functions
from minioss.text.harmony.header import SPEAKERS
from minioss.text.harmony.messages import Developer, Effort, Message, Role, System
from minioss.text.harmony.special import CONSTRAIN, SpecialTokens, special_tokens

ROLES, EFFORTS = get_args(Role), get_args(Effort)
Opening = Literal["analysis", "final"]
OPENINGS = get_args(Opening)


def render(messages: Iterable[Message], encoding: tiktoken.Encoding) -> list[int]:
    """The ids of a stored conversation, with nothing dropped.

    Parameters
    ----------
    messages : from the first on
    encoding : of the model; it must have the special tokens of harmony

    Raises
    ------
    InputError
        Where a message cannot be written, or the encoding lacks a special token.
    """
    messages, special = list(messages), special_tokens(encoding)
    functions = any(has_functions(message.content) for message in messages)
    ids = []
    for place, message in enumerate(messages):
        check(message, f"messages[{place}]")
        ids += _message(message, functions, encoding, special)
    return ids


def render_prompt(
    messages: Iterable[Message], encoding: tiktoken.Encoding, opening: Opening | None = None
) -> list[int]:
    """The ids that the model is to continue as the assistant, without the reasoning of earlier turns.

    Parameters
    ----------
    messages, encoding : as for `render`
    opening : a channel that is opened already; ``final`` makes the model answer without reasoning
    """
    return render(without_old_analysis(messages), encoding) + open_message(encoding, opening)


def render_for_training(messages: Iterable[Message], encoding: tiktoken.Encoding) -> list[int]:
    """As `render`; but where the last message is a final one, it ends in ``<|return|>`` as the model should end it."""
    messages, special = list(messages), special_tokens(encoding)
    ids = render(messages, encoding)
    if messages and (messages[-1].role, messages[-1].channel) == ("assistant", "final"):
        ids[-1] = special.return_
    return ids


def open_message(encoding: tiktoken.Encoding, opening: Opening | None = None) -> list[int]:
    """``<|start|>assistant``, and with an opening ``<|channel|>final<|message|>`` too.

    With ``<|end|>`` before it, it cuts the model's reasoning short and asks for the answer.
    """
    if opening not in (None, *OPENINGS):
        raise InputError(f"opening is {opening!r}; expected one of {', '.join(OPENINGS)}, or None")
    special = special_tokens(encoding)
    ids = [special.start, *encoding.encode_ordinary("assistant")]
    if opening is not None:
        ids += [special.channel, *encoding.encode_ordinary(opening), special.message]
    return ids


def without_old_analysis(messages: Iterable[Message]) -> list[Message]:
    """The messages that `render_prompt` keeps."""
    messages = list(messages)
    spoken = [message.channel for message in messages if message.role == "assistant"]
    if not spoken or spoken[-1] != "final":
        return messages
    first_final = [message.channel for message in messages].index("final")
    return [m for place, m in enumerate(messages) if place > first_final or m.channel != "analysis"]


def _message(message: Message, functions: bool, encoding: tiktoken.Encoding, special: SpecialTokens) -> Iterator[int]:
    """The ids of one message. Its pieces are encoded apart, as the official renderer does it."""
    yield special.start
    yield from encoding.encode_ordinary(_author(message))
    if message.recipient not in (None, "all"):
        yield from encoding.encode_ordinary(f" to={message.recipient}")
    if message.channel is not None:
        yield special.channel
        yield from encoding.encode_ordinary(message.channel)
    if message.content_type is not None and message.content_type.startswith(CONSTRAIN):
        yield from [*encoding.encode_ordinary(" "), special.constrain]
        yield from encoding.encode_ordinary(message.content_type.removeprefix(CONSTRAIN))
    elif message.content_type is not None:
        yield from encoding.encode_ordinary(f" {message.content_type}")
    yield special.message
    yield from encoding.encode_ordinary(content_text(message.content, functions))
    yield special.call if message.role == "assistant" and message.recipient is not None else special.end


def _author(message: Message) -> str:
    if message.role == "tool":
        return message.name
    return message.role if message.name is None else f"{message.role}:{message.name}"


def check(message: Message, place: str) -> None:
    """Refuse, with an `InputError` that names its place, a message that cannot be written."""
    if message.role not in ROLES:
        raise InputError(f"{place} has role {message.role!r}; expected one of {', '.join(ROLES)}")
    _check_content(message, place)
    for field in ("name", "recipient", "channel"):
        word: str | None = getattr(message, field)
        if word is not None and word.split() != [word]:
            raise InputError(f"{place} has {field} {word!r}; expected a word without white space")
    if message.role == "tool":
        _check_tool(message.name, place)


def _check_content(message: Message, place: str) -> None:
    content = message.content
    if not isinstance(content, str | System | Developer):
        raise InputError(f"{place} has content {content!r}; expected text, System or Developer")
    for kind, role in ((System, "system"), (Developer, "developer")):
        if isinstance(content, kind) and message.role != role:
            raise InputError(f"{place} has role {message.role} and {kind.__name__} content; expected role {role}")
    if isinstance(content, System) and content.effort not in (None, *EFFORTS):
        raise InputError(f"{place} asks for effort {content.effort!r}; expected one of {', '.join(EFFORTS)}, or None")


def _check_tool(name: str | None, place: str) -> None:
    """A tool's name stands where others have their role, so it must not read as one."""
    if name is None:
        raise InputError(f"{place} has role tool and no name; expected the tool's, such as functions.weather")
    if name.partition(":")[0] in SPEAKERS:
        raise InputError(f"{place} is from a tool named {name!r}; expected a name that does not begin as a role")
