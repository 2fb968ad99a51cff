"""How a chat looks: events as text, in colours where there is a terminal to show them."""

import os
import sys
from typing import Literal, TextIO, get_args

from minioss.chat.events import Done, Event, Malformed, Text, Thinking, ToolCall, ToolResult
from minioss.text.display import harmless
from minioss.text.harmony.messages import Message

Visibility = Literal["shown", "dimmed", "hidden"]
VISIBILITIES = get_args(Visibility)

RESET, DIM, RED, CYAN = "\x1b[0m", "\x1b[2m", "\x1b[31m", "\x1b[36m"
# How much is shown of what a tool is told, and of what it answers.
LINES, CHARACTERS = 8, 600


class Screen:
    """Shows events as they come.

    On a terminal all goes there, and what is not the answer looks different. Otherwise the answer alone goes
    to standard output, and the rest to standard error.

    Parameters
    ----------
    thinking : how the model's reasoning is shown
    figures : whether tokens and seconds are told after each answer
    """

    def __init__(self, thinking: Visibility = "dimmed", figures: bool = False) -> None:
        self.thinking, self.figures = thinking, figures
        self.is_terminal = sys.stdout.isatty()
        self._in_colour = self.is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._section, self._ends_line = "", True

    def show(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Thinking(text):
                self._think(text)
            case Text(text, "final"):
                self._write("answer", text)
            case Text(text):
                self._write("commentary", text, DIM)
            case ToolCall(message):
                self._write(f"call {id(message)}", f"→ {message.recipient} {excerpt(message)}", CYAN)
            case ToolResult(message):
                self._write(f"result {id(message)}", f"← {excerpt(message)}", DIM)
            case Malformed(message):
                self._write(f"note {id(message)}", f"[a malformed message: {message.note}]", DIM)
            case Done():
                self.end()
                if event.reason != "answer":
                    self.say(REASONS[event.reason])
                if self.figures:
                    self.say(figures(event))

    def end(self) -> None:
        """End the answer, or what there is of it."""
        self._begin("")

    def say(self, text: str, style: str = DIM) -> None:
        """Tell the user something that the model did not say."""
        self._write("say", text, style)
        self.end()

    def complain(self, text: str) -> None:
        """Tell the user what went wrong."""
        self.say(text, RED)

    def _think(self, text: str) -> None:
        if self.thinking != "hidden":
            self._write("thinking", text, DIM if self.thinking == "dimmed" else "")
        elif self.is_terminal and self._section != "hidden":
            self._write("hidden", "thinking…", DIM)

    def _write(self, section: str, text: str, style: str = "") -> None:
        if section != self._section:
            self._begin(section)
        stream = self._stream(section)
        if stream.isatty():
            text = harmless(text)
        stream.write(f"{style}{text}{RESET}" if style and self._in_colour else text)
        stream.flush()
        self._ends_line = text.endswith("\n")

    def _begin(self, section: str) -> None:
        """Leave one section for another: there is an empty line between them on a terminal."""
        if self._section == "hidden":
            self._stream(self._section).write("\r\x1b[K")
        elif self._section:
            space = "" if self._ends_line else "\n"
            self._stream(self._section).write(space + "\n" * (self.is_terminal and self._section != "say"))
        self._stream(self._section).flush()
        self._section, self._ends_line = section, True

    def _stream(self, section: str) -> TextIO:
        return sys.stdout if self.is_terminal or section == "answer" else sys.stderr


REASONS = {
    "length": "[there is no room for more of the answer]",
    "rounds": "[the model called tools too often, and was asked to answer]",
}


def excerpt(message: Message) -> str:
    """The beginning of what a message says, and how much there is more of it."""
    text = message.content.strip()
    short = "\n".join(text[:CHARACTERS].split("\n")[:LINES])
    return short if len(short) == len(text) else f"{short}… ({len(text) - len(short)} characters more)"


def figures(done: Done) -> str:
    """Tokens and speed of an answer."""
    read = f"read {done.read_tokens} of {done.prompt_tokens} tokens in {done.read_seconds:.1f} s"
    rate = f", {(done.new_tokens - 1) / done.write_seconds:.1f} a second" if done.write_seconds else ""
    return f"[{read}, wrote {done.new_tokens}{rate}]"
