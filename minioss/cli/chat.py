"""``minioss chat``: talk to the model."""

import argparse
import contextlib
import sys
from pathlib import Path

from minioss.chat.conversation import EFFORTS, Chat
from minioss.chat.screen import Screen
from minioss.chat.session import Session
from minioss.chat.tools.browser import Browser
from minioss.chat.tools.documents import Documents
from minioss.chat.tools.python import Python
from minioss.chat.tools.tool import Tool
from minioss.checkpoint.loading import TINY, load
from minioss.cli.options import add_model_options, add_sampling_options, model_options, sampling_options
from minioss.errors import InputError


def add_to(commands: argparse._SubParsersAction) -> None:
    """Define the command's arguments."""
    parser = commands.add_parser(
        "chat", help="talk to the model", epilog="In a pipe, standard input is one message, and its answer is printed."
    )
    parser.add_argument("folder", metavar="FOLDER", nargs="?", default=TINY, help="the model folder (the tiny model)")
    parser.add_argument("--effort", choices=EFFORTS, default="medium", help="how much the model reasons (medium)")
    parser.add_argument(
        "--thinking-budget", type=int, metavar="N", help="ask for the answer after N tokens of reasoning"
    )
    thinking = parser.add_mutually_exclusive_group()
    shown = {"dest": "thinking", "action": "store_const"}
    thinking.add_argument("--show-thinking", const="shown", help="the model's reasoning like its answer", **shown)
    thinking.add_argument("--hide-thinking", const="hidden", help="no reasoning (unless you say: dimmed)", **shown)
    parser.add_argument("--system", metavar="TEXT", help="instructions for the model")
    parser.add_argument("--tools", default="", metavar="LIST", help="python, browser:FOLDER, or both with a comma")
    parser.add_argument("--yes", action="store_true", help="run the model's programs without asking")
    parser.add_argument("--max-new-tokens", type=int, metavar="N", help="stop after N tokens")
    parser.add_argument("--tokens", action="store_true", help="tokens and seconds after each answer")
    add_sampling_options(parser)
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Load, and talk."""
    sys.stdin.reconfigure(errors="strict")
    interactive = sys.stdin.isatty()
    text = "" if interactive else _piped()
    screen = Screen(options.thinking or ("dimmed" if sys.stdout.isatty() else "hidden"), options.tokens)
    limit = {} if options.max_new_tokens is None else {"max_new_tokens": options.max_new_tokens}
    chat = Chat(
        load(options.folder, **model_options(options)),
        effort=options.effort,
        tools=_tools(options, interactive),
        instructions=options.system,
        thinking_budget=options.thinking_budget,
        progress=screen.reading,
        **limit,
        **sampling_options(options),
    )
    session = Session(chat, screen, _read_line)
    if interactive:
        _use_readline()
        session.run()
    else:
        session.answer(text)
    return 0


def _piped() -> str:
    try:
        text = sys.stdin.read().strip("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"standard input is not UTF-8 text: {error}") from None
    if not text.strip():
        raise InputError("standard input is empty; expected a message")
    return text


def _tools(options: argparse.Namespace, interactive: bool) -> list[Tool]:
    tools: list[Tool] = []
    for entry in filter(None, options.tools.split(",")):
        name, _, argument = entry.partition(":")
        if name == "browser" and argument:
            tools.append(_browser(Path(argument)))
        elif entry == "python":
            tools += _python(options.yes, interactive)
        else:
            raise InputError(f"--tools has {entry!r}; expected python or browser:FOLDER")
    return tools


def _browser(folder: Path) -> Browser:
    documents = Documents(folder)
    for name, reason in documents.left_out.items():
        print(f"minioss: {folder / name} is left out: {reason}", file=sys.stderr)
    return Browser(documents)


def _python(without_asking: bool, interactive: bool) -> list[Python]:
    if not (without_asking or interactive):
        raise InputError("--tools has python, and in a pipe nobody can be asked before a program runs; expected --yes")
    try:
        return [Python(None if without_asking else _confirm)]
    except InputError as error:  # the chat is worth having without it
        print(f"minioss: {error}", file=sys.stderr)
        return []


def _confirm(_: str) -> bool:
    """Whether the program, which the screen shows at this moment, may run."""
    try:
        return _read_line("Run this program? [y/N] ").strip().lower() in ("y", "yes")
    except (EOFError, UnicodeDecodeError):
        return False


def _read_line(prompt: str) -> str:
    """As `input`; but where answers go to a file or a pipe, the prompt does not."""
    if sys.stdout.isatty():
        return input(prompt)
    print(prompt, end="", file=sys.stderr, flush=True)
    return input()


def _use_readline() -> None:
    """Lines can be edited, and earlier ones called back, where Python has readline."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401
