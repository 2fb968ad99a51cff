"""What happens while the model answers, one event after the other."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from minioss.text.harmony.messages import Message


@dataclass(frozen=True)
class Thinking:
    """A piece of the model's reasoning."""

    text: str


@dataclass(frozen=True)
class Text:
    """A piece of what the model says to the user.

    Parameters
    ----------
    text : the piece
    channel : "final" for the answer; "commentary" for what it says before it calls a tool
    """

    text: str
    channel: Literal["final", "commentary"] = "final"


@dataclass(frozen=True)
class ToolCall:
    """The model calls a tool, which runs next."""

    message: Message


@dataclass(frozen=True)
class ToolResult:
    """What the tool answered."""

    message: Message


@dataclass(frozen=True)
class Malformed:
    """The model wrote a message that is not well-formed; its note says how. Its text was shown all the same."""

    message: Message


@dataclass(frozen=True)
class Done:
    """The answer is complete.

    Parameters
    ----------
    reason : "answer"; "length" where the context or ``max_new_tokens`` was full first; "rounds" where the
        model went on calling tools until it was asked to answer
    prompt_tokens : of the conversation, when the model last began to write
    read_tokens : of these, those that were computed; the others were in the cache. The sum over all rounds
    new_tokens : that the model wrote
    read_seconds, write_seconds : spent on each
    """

    reason: Literal["answer", "length", "rounds"]
    prompt_tokens: int
    read_tokens: int
    new_tokens: int
    read_seconds: float
    write_seconds: float


Event: TypeAlias = Thinking | Text | ToolCall | ToolResult | Malformed | Done
