"""How a chat looks: events as text, in colours where there is a terminal to show them."""

import os
import sys
import time
from typing import Literal, TextIO, get_args

from minioss.chat.events import Done, Event, Malformed, Text, Thinking, ToolCall, ToolResult
from minioss.text.display import harmless
from minioss.text.harmony.messages import Message

Visibility = Literal["shown", "dimmed", "hidden"]
VISIBILITIES = get_args(Visibility)

RESET, DIM, RED, CYAN = "\x1b[0m", "\x1b[2m", "\x1b[31m", "\x1b[36m"
WIPE = "\r\x1b[K"
# How much is shown of what a tool answers. What it is told is shown whole: the user may be asked whether it may run.
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
        self._is_dumb = os.environ.get("TERM") == "dumb"
        self._in_colour = self.is_terminal and not self._is_dumb and not os.environ.get("NO_COLOR")
        self._section, self._ends_line = "", True
        self._status, self._since = "", 0.0
        self._is_labelled = False

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
                self._write("call", f"→ {call(message)}\n", CYAN)
            case ToolResult(message):
                self._write("result", f"← {indented(excerpt(message))}\n", DIM)
            case Malformed(message):
                self._write("note", f"[a malformed message: {message.note}]\n", DIM)
            case Done():
                notes = [REASONS[event.reason]] if event.reason in REASONS else []
                notes += [figures(event)] if self.figures else []
                if notes:
                    self.say("\n".join(notes))
                self.end()

    def reading(self, done: int, total: int) -> None:
        """Show, after a second, how much of a prompt is read; this is a ``progress`` for `Chat`."""
        now = time.monotonic()
        if done == 1:
            self._since = now
        elif now > self._since + 1:
            left = (now - self._since) * (total - done) / (done - 1)
            self._tell(f"reading {100 * done // total} %, {left:.0f} s left")

    def say(self, text: str, style: str = DIM) -> None:
        """Tell the user something that the model did not say."""
        self._write("say", f"{text}\n", style)
        self.end()

    def complain(self, text: str) -> None:
        """Tell the user what went wrong."""
        self.say(text, RED)

    def end(self) -> None:
        """End the answer, or what there is of it."""
        self._begin("")

    def _think(self, text: str) -> None:
        if self.thinking != "hidden":
            self._write("thinking", text, DIM if self.thinking == "dimmed" else "")
            return
        if not self._status.startswith("thinking"):
            self._since = time.monotonic()
        self._tell(f"thinking… {time.monotonic() - self._since:.0f} s")

    def _tell(self, status: str) -> None:
        """Show a line that goes again as soon as there is anything else to show."""
        stream = self._stream("status")
        if stream.isatty() and not self._is_dumb and status != self._status:
            self._begin("status")
            self._put(stream, WIPE)
            self._put(stream, status, DIM)
            self._status = status

    def _write(self, section: str, text: str, style: str = "") -> None:
        self._begin(section)
        stream = self._stream(section)
        self._put(stream, harmless(text) if stream.isatty() else text, style)
        self._ends_line = text.endswith("\n")

    def _put(self, stream: TextIO, text: str, style: str = "") -> None:
        stream.write(f"{style}{text}{RESET}" if style and self._in_colour else text)
        stream.flush()

    def _begin(self, section: str) -> None:
        """Leave one section for another: on a terminal there is an empty line between them, but for call and result."""
        if section == self._section:
            return
        stream = self._stream(self._section)
        if self._section == "status":
            self._put(stream, WIPE)
        elif self._section:
            self._put(stream, "" if self._ends_line else "\n")
            self._put(stream, "\n" if self.is_terminal and section not in ("", "result") else "")
        self._section, self._status, self._ends_line = section, "", True
        self._label(section)

    def _label(self, section: str) -> None:
        """Where colours do not tell reasoning and answer apart, words do."""
        if section == "thinking":
            self._is_labelled = self.is_terminal and not (self.thinking == "dimmed" and self._in_colour)
        if section in ("thinking", "answer") and self._is_labelled:
            self._put(sys.stdout, f"[{section}]\n")
        self._is_labelled = self._is_labelled and section != ""

    def _stream(self, section: str) -> TextIO:
        return sys.stdout if self.is_terminal or section == "answer" else sys.stderr


REASONS = {
    "length": "[there is no room for more of the answer]",
    "rounds": "[the model called tools too often, and was asked to answer]",
}


def call(message: Message) -> str:
    """Whom the model calls, and with what; a program begins on a line of its own."""
    text = message.content.strip()
    return indented(f"{message.recipient}\n{text}" if "\n" in text else f"{message.recipient} {text}")


def excerpt(message: Message) -> str:
    """The beginning of what a message says, and how much there is more of it."""
    text = message.content.strip()
    short = "\n".join(text[:CHARACTERS].split("\n")[:LINES])
    return short if len(short) == len(text) else f"{short}… ({len(text) - len(short)} characters more)"


def indented(text: str) -> str:
    """The text with its lines in one column beside an arrow."""
    return text.replace("\n", "\n  ")


def figures(done: Done) -> str:
    """Tokens and speed of an answer."""
    read = f"read {done.read_tokens} of {done.prompt_tokens} tokens in {done.read_seconds:.1f} s"
    rate = f", {(done.new_tokens - 1) / done.write_seconds:.1f} a second" if done.write_seconds else ""
    return f"[{read}, wrote {done.new_tokens}{rate}]"
