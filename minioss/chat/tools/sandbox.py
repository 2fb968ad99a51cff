"""A Python program in a sandbox: bubblewrap makes it, util-linux sets its limits, and we only ask them to.

Inside there is no network and no other process. The system and this interpreter are there to be
read, ``/tmp`` is empty and can be written, and nothing else of the machine can be seen. One limit
needs an unprivileged user: the kernel lets root make any number of processes. So where minioss runs
as root the program runs under a user id that is nobody's, and elsewhere as the user, in a user
namespace of its own.
"""

import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("bwrap", "choom", "prlimit", "setpriv")
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",  # BLAS starts a thread a core otherwise, and threads count as processes
}
# The kernel counts all processes of a user together, so two chats should not share one. systemd leaves these ids unused.
OUTSIDER = str(60578 + os.getpid() % 606)
SCRIPT = "/script.py"
OPEN_FILES = 64


@dataclass(frozen=True)
class Limits:
    """What a program may use.

    Parameters
    ----------
    seconds : wall-clock time
    memory : bytes of address space, each process
    processes : processes and threads together
    disk : bytes in ``/tmp``, which are memory too
    output : bytes that are kept of what it prints
    """

    seconds: float = 120.0
    memory: int = 2**30
    processes: int = 16
    disk: int = 2**26
    output: int = 2**14


@dataclass(frozen=True)
class Outcome:
    """How a program ended.

    Parameters
    ----------
    output : what it printed, standard error included
    status : exit status; above 128, a signal ended it; None where its time was up
    """

    output: str
    status: int | None


@dataclass
class Record:
    """The beginning and the end of a stream of bytes; what is between is counted only."""

    size: int
    head: bytearray = field(default_factory=bytearray)
    tail: bytearray = field(default_factory=bytearray)
    left_out: int = 0

    def add(self, data: bytes) -> None:
        """Take the next bytes."""
        room = self.size // 2 - len(self.head)
        self.head += data[:room]
        self.tail += data[room:]
        surplus = max(0, len(self.tail) - self.size // 2)
        del self.tail[:surplus]
        self.left_out += surplus

    def text(self) -> str:
        """What was kept, with a note where something is missing."""
        if not self.left_out:
            return (self.head + self.tail).decode("utf-8", "replace")
        head, tail = (part.decode("utf-8", "replace") for part in (self.head, self.tail))
        return f"{head}\n[{self.left_out} bytes of output left out]\n{tail}"


def problem() -> str | None:
    """Why no program can run in a sandbox here, or None where one can: it is tried."""
    for program in PROGRAMS:
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian's packages are bubblewrap and util-linux)"
    for place in _interpreter():
        if Path(os.path.expanduser("~")).is_relative_to(place):
            return f"Python is installed in {place}, which holds the home folder; the sandbox would show it"
    outcome = run("print(6 * 7)", Limits(seconds=20))
    if outcome.output.strip() != "42":
        return f"bubblewrap cannot make a sandbox here: {outcome.output.strip() or 'it gave no answer'}"
    return None


def run(code: str, limits: Limits) -> Outcome:
    """Run a program, and stop it and all that it started where its time is up."""
    with tempfile.TemporaryFile() as script:
        script.write(code.encode("utf-8", "surrogatepass"))
        script.seek(0)
        process = subprocess.Popen(
            _command(script.fileno(), limits),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[script.fileno()],
            start_new_session=True,  # Ctrl-C is for us; we end the program
        )
        try:
            return _watch(process, limits)
        finally:
            process.kill()  # bubblewrap's death is the death of its process space
            process.wait()
            process.stdout.close()


def _watch(process: subprocess.Popen, limits: Limits) -> Outcome:
    end = time.monotonic() + limits.seconds
    record = Record(limits.output)
    poll = select.poll()
    poll.register(process.stdout, select.POLLIN)
    while (left := end - time.monotonic()) > 0 and poll.poll(left * 1000):
        if data := os.read(process.stdout.fileno(), 2**16):
            record.add(data)
            continue
        try:
            return Outcome(record.text(), process.wait(max(0.0, end - time.monotonic())))
        except subprocess.TimeoutExpired:  # it closed its output and went on
            break
    return Outcome(record.text(), None)


def _command(script: int, limits: Limits) -> list[str]:
    """The whole command line, from the outside inwards."""
    # The kernel ends processes where memory runs out; a score of 1000 makes these the first.
    outside = ["choom", "-n", "1000", "--", "bwrap", *_isolation(), *_files(script, limits), "--"]
    python = [sys.executable, "-I", "-u", "-X", "utf8", SCRIPT]
    return [*outside, *_as_outsider(), *_prlimit(limits), *python]


def _isolation() -> list[str]:
    spaces = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    if os.geteuid() == 0:
        user = ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        user = ["--unshare-user", "--disable-userns"]
    variables = [word for name, value in ENVIRONMENT.items() for word in ("--setenv", name, value)]
    return [*spaces, *user, "--die-with-parent", "--new-session", "--clearenv", *variables]


def _files(script: int, limits: Limits) -> list[str]:
    words = ["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--size", str(limits.disk), "--tmpfs", "/tmp"]
    for place in [*SYSTEM, *_interpreter()]:
        for parent in reversed(Path(place).parents[:-1]):
            words += ["--dir", str(parent)]  # bubblewrap would make it for the owner alone
        words += ["--ro-bind-try", str(place), str(place)]
    words += ["--perms", "0444", "--ro-bind-data", str(script), SCRIPT]
    return [*words, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]


def _interpreter() -> list[Path]:
    """The folders of this Python: of the virtual environment, and of what it was made from."""
    places = [Path(sys.prefix), Path(sys.base_prefix)]
    return list(dict.fromkeys([*places, *(place.resolve() for place in places)]))


def _as_outsider() -> list[str]:
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid", OUTSIDER, "--regid", OUTSIDER, "--clear-groups", "--inh-caps=-all", "--"]


def _prlimit(limits: Limits) -> list[str]:
    """Limits of each process; a memory file counts as a file, so its size and number are limited as well."""
    bounds = {
        "as": limits.memory,
        "nproc": limits.processes,
        "fsize": limits.disk,
        "nofile": OPEN_FILES,
        "core": 0,
    }
    return ["prlimit", *(f"--{name}={value}" for name, value in bounds.items()), "--"]
