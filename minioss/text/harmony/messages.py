"""What a harmony conversation is made of.

Every message has a role. What the assistant writes also has a channel: *analysis* is its
reasoning, *commentary* its calls of tools, *final* its answer. A call is a message with a
recipient, a tool's answer a message from it.

Source: openai/harmony, ``src/chat.rs``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["system", "developer", "user", "assistant", "tool"]
Effort = Literal["low", "medium", "high"]


@dataclass(frozen=True)
class Function:
    """A function that the model may call.

    Parameters
    ----------
    name : without its namespace
    description : what it does, for the model
    parameters : JSON schema of its arguments, an object; None for a function without arguments
    """

    name: str
    description: str
    parameters: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Namespace:
    """Functions that belong together; a call names its namespace and its function: ``functions.weather``.

    A namespace without functions (``python``) is called by its own name, with plain text.
    """

    name: str
    functions: tuple[Function, ...] = ()
    description: str | None = None


@dataclass(frozen=True)
class System:
    """Content of the system message: who the model is, how hard it thinks, and its built-in tools.

    Parameters
    ----------
    identity : first line
    effort : how much reasoning to do; None leaves the line out
    date : today, as 2025-06-28; None leaves the line out
    knowledge_cutoff : as 2024-06; None leaves the line out
    channels : those that the model must choose from; empty leaves the line out
    namespaces : built-in tools, such as browser and python
    """

    identity: str | None = "You are ChatGPT, a large language model trained by OpenAI."
    effort: Effort | None = "medium"
    date: str | None = None
    knowledge_cutoff: str | None = "2024-06"
    channels: tuple[str, ...] = ("analysis", "commentary", "final")
    namespaces: tuple[Namespace, ...] = ()


@dataclass(frozen=True)
class Developer:
    """Content of the developer message: instructions (what others call the system prompt), and functions."""

    instructions: str | None = None
    namespaces: tuple[Namespace, ...] = ()


@dataclass(frozen=True)
class Message:
    """One message.

    Parameters
    ----------
    role : who speaks
    content : text; of a system or developer message, usually its parts
    channel : analysis, commentary or final, where the assistant speaks (or a tool answers)
    recipient : a tool that is called, or ``assistant`` in a tool's answer; None for everybody
    content_type : what the text is, such as ``<|constrain|>json``
    name : of the tool that answers, such as ``functions.weather``
    note : what was wrong with the message as the model wrote it; None for nothing
    """

    role: Role
    content: str | System | Developer
    channel: str | None = None
    recipient: str | None = None
    content_type: str | None = None
    name: str | None = None
    note: str | None = None
