"""Conversations as JSON files, to be gone on with later.

    {"effort": "medium", "instructions": null, "messages": [{"role": "user", "content": "Hello"}, …]}

A message has the fields of `Message` that are not null, and openai-harmony reads it as it is.
"""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from minioss.chat.conversation import EFFORTS, Chat, Effort
from minioss.errors import InputError
from minioss.text.harmony.messages import Message
from minioss.text.harmony.rendering import check

FIELDS = [field.name for field in dataclasses.fields(Message)]
KEYS = ("effort", "instructions", "messages")


def save(chat: Chat, path: str | Path) -> None:
    """Write a conversation. An earlier one in the file is replaced, once the new one is whole.

    Raises
    ------
    InputError
        Where the file cannot be written, or holds anything but a conversation.
    """
    messages = [{k: v for k, v in dataclasses.asdict(m).items() if v is not None} for m in chat.messages]
    state = dict(zip(KEYS, (chat.effort, chat.instructions, messages), strict=True))
    # JSON has a way to write lone surrogates, but other readers refuse them.
    text = f"{json.dumps(state, ensure_ascii=False, indent=1)}\n".encode("utf-8", "replace")
    path = Path(path)
    try:
        if path.exists():
            read(path)
        _replace(path, text)
    except InputError as error:
        raise InputError(f"{path} is there already, and not replaced: {error}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None


def load(chat: Chat, path: str | Path) -> None:
    """Go on with a conversation that was saved; tools are those of the chat.

    Raises
    ------
    InputError
        Where the file cannot be read or holds no conversation; the chat is then as it was.
    """
    try:
        chat.effort, chat.instructions, chat.messages = read(Path(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def read(path: Path) -> tuple[Effort, str | None, list[Message]]:
    """The effort, the instructions and the messages in a file.

    Raises
    ------
    InputError
        Where they are not there.
    OSError
        Where the file cannot be read.
    """
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON: {error}") from None
    if not isinstance(state, dict) or sorted(state) != sorted(KEYS):
        found = ", ".join(state) if isinstance(state, dict) else type(state).__name__
        raise InputError(f"{path} holds {found:.80}; expected an object with {', '.join(KEYS)}")
    effort, instructions, entries = (state[key] for key in KEYS)
    if effort not in EFFORTS:
        raise InputError(f"{path}: effort is {effort!r:.80}; expected one of {', '.join(EFFORTS)}")
    if not isinstance(instructions, str | None) or not isinstance(entries, list):
        raise InputError(f"{path}: expected instructions to be text or null, and messages to be a list")
    return effort, instructions, [_message(entry, f"{path}: messages[{place}]") for place, entry in enumerate(entries)]


def _replace(path: Path, text: bytes) -> None:
    temporary = path.parent / f".minioss-{os.getpid()}"
    try:
        temporary.write_bytes(text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _message(entry: Any, place: str) -> Message:
    if not isinstance(entry, dict) or not {"role", "content"} <= set(entry) <= set(FIELDS):
        raise InputError(
            f"{place} is {entry!r:.80}; expected an object with role, content and others of {', '.join(FIELDS)}"
        )
    for key, value in entry.items():
        if not isinstance(value, str):
            raise InputError(f"{place} has {key} {value!r:.80}; expected text")
    message = Message(**entry)
    if message.role in ("system", "developer"):
        raise InputError(f"{place} has role {message.role}; expected user, assistant or tool")
    check(message, place)
    return message
