"""A conversation with the model: questions, reasoning, calls of tools, answers.

    chat = Chat(minioss.load("gpt-oss-20b"), effort="high", tools=[weather])
    for event in chat.stream("Do I need an umbrella?"):
        ...

One turn goes in rounds. In each the model is given the whole conversation and writes messages. If
the last one calls a tool, the tool runs, its answer joins the conversation, and the next round
begins. The turn ends with a final message, or where rounds or room run out.
"""

import datetime
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Literal, get_args

import tiktoken

from minioss.chat.events import Done, Event, Malformed, Text, Thinking, ToolCall, ToolResult
from minioss.chat.reading import Reading
from minioss.chat.tools.functions import Functions
from minioss.chat.tools.tool import Tool, answer
from minioss.errors import InputError
from minioss.model import Model, Progress
from minioss.text.harmony.header import SPEAKERS
from minioss.text.harmony.messages import Developer, Message, System
from minioss.text.harmony.parsing import Parser
from minioss.text.harmony.rendering import Opening, open_message, render_prompt
from minioss.text.harmony.special import END_OF_TEXT, special_tokens
from minioss.text.tokenizer import load_tokenizer

Effort = Literal["off", "low", "medium", "high"]
EFFORTS = get_args(Effort)
STOPPED = "[The user stopped this call.]"


class Chat:
    """A model in conversation.

    Parameters
    ----------
    model : a loaded model
    encoding : its tokenizer; None for the one in its folder
    effort : how much the model reasons before it answers; with "off" its answer is opened at once
    tools : Python functions that the model may call, or tools such as `Python` and `Browser`
    instructions : what others call the system prompt
    thinking_budget : tokens of reasoning in a turn, after which the answer is asked for; None for no limit
    max_rounds : how often in a turn the model may call a tool before its answer is asked for
    date : today for the model, as 2025-06-28; None for what the clock says
    progress : called with (layers done, layers in all) while a prompt is read
    **options : ``max_new_tokens`` a round (as many as the context holds), ``temperature`` and the other
        options of `generate`

    Attributes
    ----------
    messages : the conversation, without the system and the developer message
    reading : what the model has read, with its counters

    Raises
    ------
    InputError
        Where an option is wrong, the model's tokenizer is missing, or two tools have one name.
    """

    def __init__(
        self,
        model: Model,
        *,
        encoding: tiktoken.Encoding | None = None,
        effort: Effort = "medium",
        tools: Iterable[Tool | Callable[..., Any]] = (),
        instructions: str | None = None,
        thinking_budget: int | None = None,
        max_rounds: int = 16,
        date: str | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> None:
        if encoding is None and model.folder is None:
            raise InputError("the model has no folder to read its tokenizer from; expected an encoding")
        self.encoding = encoding or load_tokenizer(model.folder, model.config.vocab_size)
        self._special = special_tokens(self.encoding)
        known = self.encoding.special_tokens_set
        end_of_text = [self.encoding.encode_single_token(END_OF_TEXT)] if END_OF_TEXT in known else []
        self._options = {
            "max_new_tokens": model.config.max_position_embeddings,
            **options,
            "stop_tokens": [self._special.return_, self._special.call, *end_of_text],
            "progress": progress,
        }
        self.effort = effort
        self.tools = grouped(tools)
        self.instructions = instructions
        self.thinking_budget = at_least(0, "thinking_budget", thinking_budget)
        self.max_rounds = at_least(1, "max_rounds", max_rounds)
        self.date = date or datetime.date.today().isoformat()
        self.messages: list[Message] = []
        self.reading = Reading(model)
        self._thought = 0

    @property
    def effort(self) -> Effort:
        """How much the model reasons; it may be changed between turns."""
        return self._effort

    @effort.setter
    def effort(self, effort: Effort) -> None:
        if effort not in EFFORTS:
            raise InputError(f"effort is {effort!r}; expected one of {', '.join(EFFORTS)}")
        self._effort = effort

    def conversation(self) -> list[Message]:
        """All messages, with the system and the developer message that the model is given first."""
        namespaces = {
            built_in: tuple(tool.namespace for tool in self.tools.values() if tool.built_in == built_in)
            for built_in in (True, False)
        }
        effort = "low" if self.effort == "off" else self.effort
        first = [Message("system", System(effort=effort, date=self.date, namespaces=namespaces[True]))]
        if self.instructions is not None or namespaces[False]:
            first.append(Message("developer", Developer(self.instructions, namespaces[False])))
        return [*first, *self.messages]

    def reset(self) -> None:
        """Forget the conversation."""
        self.messages.clear()

    def stream(self, text: str) -> Iterator[Event]:
        """Ask, and see the answer as it comes.

        The iterator may be left at any event, or be interrupted: what the model had said to the user by
        then stays in the conversation, and the chat can go on.

        Parameters
        ----------
        text : the user's message

        Yields
        ------
        Event
            The last one is `Done`.

        Raises
        ------
        InputError
            Where the conversation does not fit into the context; it is then as it was before the question.
        """
        before, counts = len(self.messages), self._counts()
        self.messages.append(Message("user", text))
        self._thought = 0
        try:
            reason = yield from self._turn()
        except InputError:
            del self.messages[before:]
            raise
        used = (now - then for now, then in zip(self._counts(), counts, strict=True))
        yield Done(reason, self._prompt_tokens, *used)

    def _counts(self) -> tuple[int, int, float, float]:
        reading = self.reading
        return reading.read_tokens, reading.new_tokens, reading.read_seconds, reading.write_seconds

    def _turn(self) -> Iterator[Event]:
        opening: Opening | None = "final" if self.effort == "off" else None
        for left in reversed(range(self.max_rounds + 1)):
            complete = yield from self._reply(opening if left else "final")
            last = self.messages[-1]
            if not complete:
                return "length"
            if calls_a_tool(last) and left:
                yield from self._run(last)
            elif last.role == "assistant" and last.channel not in ("analysis", "commentary"):
                return "answer"
            else:
                opening = "final"  # it stopped without an answer
        return "rounds"

    def _reply(self, opening: Opening | None) -> Iterator[Event]:
        """Let the model write its next messages; returns whether it came to an end by itself."""
        parser = Parser(self.encoding, opening)
        ids = render_prompt(self.conversation(), self.encoding, opening)
        self._prompt_tokens = len(ids)
        try:
            thought_enough = yield from self._write(ids, parser)
            if thought_enough:
                for token in [self._special.end, *open_message(self.encoding, "final")]:
                    ids.append(token)
                    yield from pushed(parser, token)
                yield from self._write(ids, parser)
        finally:
            # Of a message that was cut, only what the user saw is kept: half a thought or half a call helps nobody.
            cut = parser.current
            if cut is not None and cut.recipient is None and cut.channel != "analysis":
                parser.finish()
            self.messages += map(by_the_assistant, parser.messages)
        return ids[-1] in self._options["stop_tokens"]

    def _write(self, ids: list[int], parser: Parser) -> Iterator[Event]:
        """Extend ``ids`` by what the model writes; returns whether it was stopped for thinking too long."""
        for token in self.reading.go_on(tuple(ids), **self._options):
            ids.append(int(token))
            was_reasoning = reasons(parser)
            yield from pushed(parser, token)
            self._thought += was_reasoning and reasons(parser)
            if reasons(parser) and self.thinking_budget is not None and self._thought >= self.thinking_budget:
                return True
        return False

    def _run(self, call: Message) -> Iterator[Event]:
        yield ToolCall(call)
        tool = self.tools.get(call.recipient.partition(".")[0])
        try:
            if tool is None:
                result = answer(call, f"Error: there is no tool {call.recipient}. Expected {self._tool_names()}")
            else:
                result = tool.run(call)
        except KeyboardInterrupt:
            self.messages.append(answer(call, STOPPED))
            raise
        self.messages.append(result)
        yield ToolResult(result)

    def _tool_names(self) -> str:
        return ", ".join(self.tools) or "an answer without tools"


def pushed(parser: Parser, token: int) -> Iterator[Event]:
    """Give the parser a token; the events are what is new."""
    complete = len(parser.messages)
    text = parser.push(token)
    message = parser.current or (parser.messages[-1] if parser.messages else None)
    if text and message.recipient is None:
        if message.channel == "analysis":
            yield Thinking(text)
        else:
            yield Text(text, "commentary" if message.channel == "commentary" else "final")
    for message in parser.messages[complete:]:
        if message.note is not None:
            yield Malformed(message)


def reasons(parser: Parser) -> bool:
    """Whether the parser is inside the model's reasoning."""
    return parser.current is not None and parser.current.channel == "analysis"


def by_the_assistant(message: Message) -> Message:
    """What the model wrote is the assistant's, whatever role it gave itself."""
    if message.role == "assistant":
        return message
    return replace(message, role="assistant", name=None, recipient=None)


def calls_a_tool(message: Message) -> bool:
    """Whether a message is for a tool, and not for the user or everybody."""
    return message.recipient is not None and message.recipient.partition(":")[0] not in (*SPEAKERS, "all")


def grouped(tools: Iterable[Tool | Callable[..., Any]]) -> dict[str, Tool]:
    """The tools by the names of their namespaces; plain functions become one tool."""
    tools = list(tools)
    plain = [tool for tool in tools if not hasattr(tool, "namespace")]
    named: dict[str, Tool] = {}
    for tool in [*([Functions(plain)] if plain else []), *(tool for tool in tools if hasattr(tool, "namespace"))]:
        if tool.namespace.name in named:
            raise InputError(f"there are two tools named {tool.namespace.name}; expected different names")
        named[tool.namespace.name] = tool
    return named


def at_least(least: int, name: str, value: int | None) -> int | None:
    """The value, if it is not too small."""
    if value is not None and value < least:
        raise InputError(f"{name} is {value}; expected {least} or more")
    return value
