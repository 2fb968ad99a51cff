"""A chat in the terminal: what is typed goes to the model or is a command, until the end of input."""

import os
from collections.abc import Callable
from typing import NamedTuple

from minioss.chat import transcript
from minioss.chat.conversation import EFFORTS, Chat
from minioss.chat.screen import VISIBILITIES, Screen
from minioss.errors import InputError, NotFiniteError
from minioss.text.harmony.rendering import render_prompt

# An empty line sets each question off from what came before it.
PROMPT, MORE = "\n> ", "… "
QUOTES = '"""'
HELP = f"""A message is sent with Return. It goes on in the next line after a \\ at the end
of a line, and from {QUOTES} to {QUOTES} over any number of lines. What begins with a
space is never a command. Ctrl-C stops the answer, Ctrl-D ends the chat."""


class Quit(Exception):
    """The user ends the chat."""


class Session(NamedTuple):
    """A conversation, where it is shown, and where lines come from (as from `input`)."""

    chat: Chat
    screen: Screen
    read_line: Callable[[str], str] = input

    def run(self) -> None:
        """Talk until the end of input or ``/quit``."""
        note = self._greeting()
        while True:
            try:
                if note:
                    self.screen.say(note)
                    note = ""
                text = self._read()
                if text.startswith("/"):
                    self._command(*text[1:].split(maxsplit=1))
                elif text.strip():
                    self.ask(text)
            except KeyboardInterrupt:
                note = "\n[Ctrl-D or /quit ends the chat]"  # told above, where another Ctrl-C does no harm
            except UnicodeDecodeError as error:
                self.screen.complain(f"what was typed is not UTF-8 text: {error}")
            except EOFError:
                self.screen.say("")
                return
            except Quit:
                return

    def ask(self, text: str) -> None:
        """As `answer`, but Ctrl-C stops the answer alone, and after an error the chat can go on."""
        try:
            self.answer(text)
        except KeyboardInterrupt:
            self.screen.say("[stopped]")
        except (InputError, NotFiniteError, MemoryError) as error:
            self.screen.complain(str(error) or "out of memory")

    def answer(self, text: str) -> None:
        """Send a message and show the answer, with the sources that it names."""
        for event in self.chat.stream(text):
            self.screen.show(event)
        if sources := self._sources():
            self.screen.say("\n".join(f"{citation} {address}" for citation, address in sources.items()))

    def _greeting(self) -> str:
        folder = self.chat.reading.model.folder
        name = "a model" if folder is None else folder.resolve().name
        tools = f"tools: {', '.join(self.chat.tools)}" if self.chat.tools else "no tools"
        return f"{name}, effort {self.chat.effort}, {tools} (/help lists the commands)"

    def _sources(self) -> dict[str, str]:
        browser = self.chat.tools.get("browser")
        return browser.cited(self.chat.messages[-1].content) if browser else {}

    def _read(self) -> str:
        line = self.read_line(PROMPT)
        if line.startswith(QUOTES):
            return self._read_quoted(line.removeprefix(QUOTES))
        lines = [line]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1].removesuffix("\\")
            lines.append(self._read_more(""))
        return "\n".join(lines)

    def _read_quoted(self, line: str) -> str:
        lines = [line]
        while not lines[-1].endswith(QUOTES):
            lines.append(self._read_more(QUOTES))
        text = "\n".join(lines).removesuffix(QUOTES).strip("\n")
        # What is quoted is a message, even if it begins as a command does.
        return f" {text}" if text.startswith("/") else text

    def _read_more(self, last: str) -> str:
        """The next line of a message; Ctrl-D ends the message and not the chat."""
        try:
            return self.read_line(MORE)
        except EOFError:
            self.screen.say("")
            return last

    def _command(self, name: str = "", argument: str = "") -> None:
        command = COMMANDS.get(name)
        try:
            if command is None:
                raise InputError(f"there is no command /{name}; /help lists them (a message may begin with a space)")
            if argument and not command.arguments:
                raise InputError(f"/{name} is followed by {argument!r}; expected nothing after it")
            command.run(self, argument.strip())
        except (InputError, OSError) as error:
            self.screen.complain(str(error))


class Command(NamedTuple):
    """What a line that begins with a slash may do."""

    arguments: str
    purpose: str
    run: Callable[[Session, str], None]


def _help(session: Session, _: str) -> None:
    width = max(len(f"/{name} {command.arguments}") for name, command in COMMANDS.items())
    lines = [f"{f'/{name} {c.arguments}':{width}}  {c.purpose}" for name, c in COMMANDS.items()]
    session.screen.say("\n".join([*lines, "", HELP]))


def _effort(session: Session, effort: str) -> None:
    if effort:
        session.chat.effort = effort
    session.screen.say(f"effort is {session.chat.effort}")


def _thinking(session: Session, thinking: str) -> None:
    if thinking and thinking not in VISIBILITIES:
        raise InputError(f"thinking is {thinking!r}; expected one of {', '.join(VISIBILITIES)}")
    session.screen.thinking = thinking or session.screen.thinking
    session.screen.say(f"thinking is {session.screen.thinking}")


def _reset(session: Session, _: str) -> None:
    session.chat.reset()
    session.screen.say("the conversation is empty")


def _save(session: Session, path: str) -> None:
    transcript.save(session.chat, _path(path))
    session.screen.say(f"saved {len(session.chat.messages)} messages in {path}")


def _load(session: Session, path: str) -> None:
    transcript.load(session.chat, _path(path))
    session.screen.say(f"loaded {len(session.chat.messages)} messages from {path}")


def _path(path: str) -> str:
    if not path:
        raise InputError("there is no file name; expected /save FILE or /load FILE")
    return os.path.expanduser(path)


def _tokens(session: Session, _: str) -> None:
    session.screen.figures = not session.screen.figures
    count = len(render_prompt(session.chat.conversation(), session.chat.encoding))
    room = session.chat.reading.model.config.max_position_embeddings
    state = "on" if session.screen.figures else "off"
    session.screen.say(f"the conversation has {count} of {room} tokens; figures are {state}")


def _quit(session: Session, _: str) -> None:
    raise Quit


COMMANDS = {
    "help": Command("", "this list", _help),
    "effort": Command(f"[{'|'.join(EFFORTS)}]", "how much the model reasons", _effort),
    "thinking": Command(f"[{'|'.join(VISIBILITIES)}]", "how its reasoning is shown", _thinking),
    "reset": Command("", "begin a new conversation", _reset),
    "save": Command("FILE", "write the conversation to a file", _save),
    "load": Command("FILE", "go on with a conversation from a file", _load),
    "tokens": Command("", "length of the conversation; figures on or off", _tokens),
    "quit": Command("", "end the chat", _quit),
}
