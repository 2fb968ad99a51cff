"""Conversations as JSON files, to be gone on with later.

    {"effort": "medium", "instructions": null, "messages": [{"role": "user", "content": "Hello"}, …]}

A message has the fields of `Message` that are not null, and openai-harmony reads it as it is.
"""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from minioss.chat.conversation import EFFORTS, Chat
from minioss.errors import InputError
from minioss.text.harmony.messages import Message
from minioss.text.harmony.rendering import check

FIELDS = [field.name for field in dataclasses.fields(Message)]
KEYS = ("effort", "instructions", "messages")


def save(chat: Chat, path: str | Path) -> None:
    """Write a conversation; a file that is there already is replaced once the new one is whole."""
    messages = [{k: v for k, v in dataclasses.asdict(m).items() if v is not None} for m in chat.messages]
    state = dict(zip(KEYS, (chat.effort, chat.instructions, messages), strict=True))
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(state, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(chat: Chat, path: str | Path) -> None:
    """Go on with a conversation that was saved; tools are those of the chat.

    Raises
    ------
    InputError
        Where the file holds no conversation; the chat is then as it was.
    """
    try:
        state = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON: {error}") from None
    if not isinstance(state, dict) or sorted(state) != sorted(KEYS):
        found = ", ".join(state) if isinstance(state, dict) else type(state).__name__
        raise InputError(f"{path} holds {found}; expected an object with {', '.join(KEYS)}")
    effort, instructions, entries = (state[key] for key in KEYS)
    if effort not in EFFORTS:
        raise InputError(f"{path}: effort is {effort!r}; expected one of {', '.join(EFFORTS)}")
    if not isinstance(instructions, str | None) or not isinstance(entries, list):
        raise InputError(f"{path}: expected instructions to be text or null, and messages to be a list")
    messages = [_message(entry, f"{path}: messages[{place}]") for place, entry in enumerate(entries)]
    chat.effort, chat.instructions, chat.messages = effort, instructions, messages


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
