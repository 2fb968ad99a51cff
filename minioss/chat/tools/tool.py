"""What a tool is: a description that the model reads, and an answer to every call that it makes.

Source of the answer's form: openai/gpt-oss, ``gpt_oss/tools``.
"""

import json
from typing import Any, Protocol

from minioss.text.harmony.messages import Message, Namespace


class Tool(Protocol):
    """Something that the model can call.

    Attributes
    ----------
    namespace : how the model is told of it; a call's recipient begins with the namespace's name
    built_in : whether the system message tells of it (browser, python) or the developer message
    """

    namespace: Namespace
    built_in: bool

    def run(self, call: Message) -> Message:
        """Answer a call. Whatever the model says, this raises nothing: a mistake is an answer that says so."""
        ...


class CallError(Exception):
    """What the model asks for cannot be done; the message is for the model."""


def answer(call: Message, text: str, name: str | None = None) -> Message:
    """The message that carries a tool's answer back, on the channel of the call.

    Parameters
    ----------
    call : what the model wrote
    text : the answer; lone surrogates, which no tokenizer knows, become question marks
    name : who answers; the call's recipient where None
    """
    text = text.encode("utf-8", "replace").decode()
    return Message("tool", text, channel=call.channel, recipient="assistant", name=name or call.recipient)


def json_arguments(call: Message) -> dict[str, Any]:
    """The arguments that the model wrote, as JSON; none where it wrote nothing.

    Raises
    ------
    CallError
        Where they are no JSON object.
    """
    text = str(call.content)
    if not text.strip():
        return {}
    try:
        arguments = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise CallError(f"the arguments are not valid JSON: {str(error) or 'nested too deeply'}") from None
    if not isinstance(arguments, dict):
        raise CallError('the arguments are not a JSON object; expected something like {"name": value}')
    return arguments


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")
