"""A pseudo-terminal with a program in it: a test types, and waits for what is shown."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from contextlib import suppress
from pathlib import Path

SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
ENVIRONMENT = {"TERM": "xterm", "LC_ALL": "C.UTF-8", "INPUTRC": os.devnull}
CTRL_C, CTRL_D = "\x03", "\x04"
# Only a test that fails waits as long as that.
PATIENCE = 100.0


class Terminal:
    """Runs a command.

    Attributes
    ----------
    raw : all that the terminal got
    """

    def __init__(self, command, columns=160, **environment):
        self.raw, self._seen = b"", 0
        self._child, self._terminal = pty.fork()
        if self._child == 0:
            # Background jobs of a shell ignore Ctrl-C, and what they start would too.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.execve(command[0], command, os.environ | ENVIRONMENT | environment)
        os.set_blocking(self._terminal, False)
        self.resize(columns)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._terminal)  # which hangs up on a program that still runs
        if self._child:
            os.waitpid(self._child, 0)

    @property
    def text(self) -> str:
        """What a person sees of it, line after line."""
        return SEQUENCE.sub("", self.raw.decode("utf-8", "replace")).replace("\r\n", "\n")

    def resize(self, columns):
        """Change the width, of which the program gets a signal."""
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))

    def type(self, text):
        """Press keys; a line is sent by its end."""
        left = text.encode() if isinstance(text, str) else text
        while left:
            self._wait(PATIENCE, [self._terminal])
            left = left[self._write(left[:256]) :]

    def expect(self, text, seconds=PATIENCE):
        """Wait until a text appears that was not seen before, and return what came until then."""
        end = time.monotonic() + seconds
        while text not in self.text[self._seen :]:
            alive = time.monotonic() < end and self._wait(end - time.monotonic())
            assert alive or text in self.text[self._seen :], f"{text!r} is not in {self.text[self._seen :]!r}"
        start, self._seen = self._seen, self.text.index(text, self._seen) + len(text)
        return self.text[start : self._seen - len(text)]

    def interrupt_prompt(self, text):
        """Press Ctrl-C until a text appears: Python does not notice it in the moment when a prompt is shown."""
        for _ in range(int(PATIENCE)):
            self.type(CTRL_C)
            with suppress(AssertionError):
                return self.expect(text, seconds=1.0)
        return self.expect(text)

    def wait_for_child(self):
        """Wait until the program has started one of its own (on Linux)."""
        children = Path(f"/proc/{self._child}/task/{self._child}/children")
        end = time.monotonic() + PATIENCE
        while not children.read_text():
            assert time.monotonic() < end and self._wait(0.05)

    def exit_status(self):
        """Wait for the end of the program."""
        end = time.monotonic() + PATIENCE
        while self._wait(end - time.monotonic()):
            assert time.monotonic() < end, f"it goes on after {self.text[self._seen :]!r}"
        child, self._child = self._child, 0
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def _write(self, data):
        try:
            return os.write(self._terminal, data)
        except BlockingIOError:
            return 0

    def _wait(self, seconds, writable=()):
        """Read what is there within that time; returns whether the program is still there."""
        readable, _, _ = select.select([self._terminal], writable, [], max(0.0, seconds))
        if readable:
            try:
                self.raw += (data := os.read(self._terminal, 2**16))
            except OSError:  # how Linux says that nobody has the terminal open any more
                return False
            return bool(data)
        return True
