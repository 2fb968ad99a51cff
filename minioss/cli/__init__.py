"""The command line: ``minioss COMMAND``, one file a command."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from minioss import __version__
from minioss.cli import bench, chat, diagnose, explore, generate, gguf, info, kit, plot, synth, trace, train, verify
from minioss.errors import InputError, NotFiniteError

COMMANDS = (info, generate, chat, explore, plot, bench, synth, train, gguf, trace, verify, diagnose, kit)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0, 1 (the model failed), 2 (wrong input) or 130 (Ctrl-C)."""
    parser = argparse.ArgumentParser(prog="minioss", description="gpt-oss in NumPy, with a Cython hot path.")
    parser.add_argument("--version", action="version", version=f"minioss {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    options = parser.parse_args(arguments)
    _open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a terminal that lacks a character is no reason to stop
    try:
        return options.run(options)
    except (InputError, NotFiniteError, OSError, MemoryError) as error:
        if isinstance(error, BrokenPipeError):
            return _reader_has_gone()
        print(f"minioss: {error or 'out of memory'}", file=sys.stderr)
        return 1 if isinstance(error, NotFiniteError) else 2
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 128 + signal.SIGINT


def _open_missing_streams() -> None:
    """Where a stream was closed before the start (`<&-`), Python has none: then nothing is read, or all is thrown away."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _reader_has_gone() -> int:
    """`minioss … | head` is no error; keep Python from complaining when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
