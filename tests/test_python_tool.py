"""The python tool: what must be stopped or refused is, the model is told, and the next program runs."""

import contextlib
import functools
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minioss.chat.tools import python as python_module
from minioss.chat.tools import sandbox
from minioss.chat.tools.python import Python
from minioss.errors import InputError
from minioss.text.harmony.builtin import PYTHON
from minioss.text.harmony.messages import Message

PROBLEM = sandbox.problem()
in_a_sandbox = pytest.mark.skipif(PROBLEM is not None, reason=f"no sandbox here: {PROBLEM}")
SECONDS = 2.0
QUICK = 20.0  # a program that ends by itself must not meet the limit, however busy the machine


tool = functools.cache(Python)  # each one tries the sandbox when it is made


def run(code, seconds=QUICK, **options):
    message = tool(seconds=seconds, **options).run(Message("assistant", code, "analysis", "python"))
    assert (message.role, message.name, message.recipient) == ("tool", "python", "assistant")
    assert message.channel == "analysis"
    return message.content


@pytest.fixture
def next_works():
    yield
    assert run("print(2 + 2)") == "4\n"


pytestmark = [in_a_sandbox, pytest.mark.usefixtures("next_works")]


# What is stopped


def stopped(code, **options):
    start = time.monotonic()
    text = run(code, SECONDS, **options)
    assert text.endswith("[The program was stopped after 2 seconds.]")
    assert SECONDS <= time.monotonic() - start < SECONDS + 10
    return text


def test_an_infinite_loop():
    assert stopped("print('before')\nwhile True: pass").startswith("before\n")


def test_a_loop_without_output_streams():
    stopped("import os\nos.close(1)\nos.close(2)\nwhile True: pass")


def test_output_without_end():
    """The time is up even where there is always something to read."""
    with open("/dev/zero", "rb") as endless:
        assert sandbox._watch(SimpleNamespace(stdout=endless), sandbox.Limits(seconds=0.2)).status is None
    stopped("while True: print('more')")


def test_a_loop_that_no_signal_ends():
    stopped("import signal\nfor n in {*signal.Signals} - {9, 19}: signal.signal(n, lambda *_: 0)\nwhile True: pass")


def test_a_fork_bomb(marker):
    bomb = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    stopped(bomb)
    wait_until_nothing_is_left(marker)


def test_processes_are_counted():
    text = run(
        "import os, time\ncount = 0\ntry:\n    while os.fork(): count += 1\n    time.sleep(60)\nexcept OSError: print(count)"
    )
    assert 0 < int(text) < sandbox.Limits().processes


def test_threads_are_counted():
    text = run(
        "import threading, time\nfor _ in range(99): threading.Thread(target=time.sleep, args=(1,), daemon=True).start()"
    )
    assert "can't start new thread" in text


def test_a_process_that_outlives_its_program(marker):
    start = time.monotonic()
    orphan = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(600)\nelse: print('done')"
    assert run(orphan) == "done\n"
    assert time.monotonic() - start < QUICK
    wait_until_nothing_is_left(marker)


@pytest.fixture
def marker(monkeypatch):
    """A word in the command line of the programs of this test alone."""
    name = f"/script-{os.getpid()}.py"
    monkeypatch.setattr(sandbox, "SCRIPT", name)
    return name


def wait_until_nothing_is_left(marker):
    for _ in range(100):
        if not left_over(marker):
            return
        time.sleep(0.1)
    raise AssertionError(f"still running: {left_over(marker)}")


def left_over(marker):
    """Processes that have the marker in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            words = path.read_bytes().decode(errors="replace").split("\0")
            found += [words] if marker in words else []
    return found


def interrupted(marker, code):
    """What a process prints that runs a sandbox and meets a Ctrl-C, which goes to its whole process group."""
    code = f"from minioss.chat.tools import sandbox\nsandbox.SCRIPT = {marker!r}\n{code}"
    arguments = [sys.executable, "-c", code]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        while not left_over(marker) and process.poll() is None:
            time.sleep(0.05)
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)
        return process.communicate(timeout=30)[0]


def test_ctrl_c_ends_the_program(marker):
    code = (
        "try: sandbox.run('import time; time.sleep(600)', sandbox.Limits())\n"
        "except KeyboardInterrupt: print('interrupted')"
    )
    assert interrupted(marker, code) == "interrupted\n"
    wait_until_nothing_is_left(marker)


def test_a_ctrl_c_that_the_caller_handles_leaves_the_program_alone(marker):
    code = (
        "import signal\nsignal.signal(signal.SIGINT, lambda *_: print('handled'))\n"
        "print(sandbox.run('import time; time.sleep(2); print(3)', sandbox.Limits()).output)"
    )
    assert interrupted(marker, code) == "handled\n3\n\n"


# What is refused


def test_a_large_allocation():
    assert run("x = bytearray(10**10)").endswith("MemoryError\n")
    assert run("x = bytearray(10**8)", memory=2**26).endswith("MemoryError\n")


def test_files_that_live_in_memory_are_limited():
    code = "import os\nfd = os.memfd_create('x')\nfor _ in range(10): os.write(fd, bytes(10**7))"
    assert "File too large" in run(code)


def test_a_huge_file():
    assert "File too large" in run("open('x', 'wb').write(bytes(10**8))")


def test_many_files():
    assert "No space left on device" in run("for n in range(99): open(str(n), 'wb').write(bytes(10**6))")


def test_the_network():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = "import socket\nsocket.create_connection(('{}', {}), 2)"
        assert "Connection refused" in run(code.format("127.0.0.1", port))
        assert "Network is unreachable" in run(code.format("192.0.2.1", 80))


def test_a_socket_in_the_file_system(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        text = run(f"import socket\nsocket.socket(socket.AF_UNIX).connect({str(tmp_path / 's')!r})")
    assert "No such file or directory" in text


def test_the_files_of_the_user(tmp_path):
    (tmp_path / "secret").write_text("secret")
    assert "No such file" in run(f"print(open({str(tmp_path / 'secret')!r}).read())")
    assert "No such file" in run(f"print(open({__file__!r}).read())")
    for path in ("/etc/passwd", "/etc/hostname", "/var", "/run", "/mnt"):
        assert "No such file" in run(f"import os\nos.stat({path!r})")


def test_of_the_home_folder_nothing_but_the_interpreter():
    """Its folder may be there, on the way to an interpreter that is installed below it; its files are not."""
    home = Path.home()
    text = run(f"import os\nprint(os.listdir({str(home)!r}))")
    visible = {place.relative_to(home).parts[0] for place in sandbox._interpreter() if place.is_relative_to(home)}
    assert text == f"{sorted(visible)}\n" if visible else "No such file" in text


def test_writing_elsewhere():
    places = [
        "/x",
        "/usr/x",
        "/dev/x",
        "/dev/shm/x",
        f"{sys.prefix}/x",
        f"{sys.base_prefix}/x",
        "/proc/sys/kernel/hostname",
    ]
    code = "for place in {}:\n    try: open(place, 'w').write('x')\n    except OSError: pass\n    else: print('written', place)"
    assert run(code.format(places)) == python_module.SILENT
    assert not Path(sys.prefix, "x").exists()


def test_its_own_script_cannot_be_changed():
    assert "Error" in run(f"open({sandbox.SCRIPT!r}, 'a').write('x')")


def test_the_environment(monkeypatch):
    monkeypatch.setenv("SECRET", "secret")
    assert run("import os\nprint(sorted(os.environ))").strip() == str(sorted({*sandbox.ENVIRONMENT, "PWD"}))


def test_no_privileges():
    status = run("print(open('/proc/self/status').read())").split("\n")
    values = dict(line.split(":\t", 1) for line in status if ":\t" in line)
    assert {values[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert values["NoNewPrivs"] == "1" and values["Uid"].split()[0] != "0"
    assert run("import os\nos.setuid(0)").splitlines()[-1].startswith(("PermissionError", "OSError"))
    if os.geteuid() != 0:  # under root bubblewrap cannot switch them off
        new_user_namespace = "import ctypes\nprint(ctypes.CDLL(None).unshare(0x10000000))"
        assert run(new_user_namespace) == "-1\n"


def test_no_other_processes():
    assert run("import os\nprint([name for name in os.listdir('/proc') if name.isdigit()])") == "['1', '2']\n"


# What comes back


def test_100_mb_of_output():
    text = run("import os\nos.write(1, b'start')\nfor _ in range(100): os.write(1, bytes(10**6))\n1 / 0")
    assert text.startswith("start\0") and text.endswith("ZeroDivisionError: division by zero\n")
    note = re.search(r"\n\[(\d+) bytes of output left out\]\n", text)
    assert len(text) - len(note[0]) == sandbox.Limits().output
    assert 0 < int(note[1]) - (100_000_005 - sandbox.Limits().output) < 500  # the message of the error


def test_output_that_is_no_text():
    assert run("import sys\nsys.stdout.buffer.write(b'a\\xff\\xfeb')") == "a��b"
    assert run("print('\\ud800é')").endswith("surrogates not allowed\n")


def test_there_is_no_standard_input():
    assert run("import sys\nprint(repr(sys.stdin.read()))") == "''\n"
    assert run("input()").endswith("EOFError: EOF when reading a line\n")


def test_errors_show_the_line():
    text = run("x = 1\nx / 0")
    assert 'File "/script.py", line 2' in text and "x / 0" in text and text.endswith("division by zero\n")


def test_silence_and_signals():
    assert run("2 + 2") == run("") == run("raise SystemExit(200)") == python_module.SILENT
    assert run("import os\nos.kill(os.getpid(), 9)") == "[The program was ended by signal 9.]"
    assert run("import os\nos.abort()") == "[The program was ended by signal 6.]"


def test_nothing_is_kept():
    assert run("x = 1\nopen('kept', 'w').write('x')\nprint(__import__('os').path.exists('/tmp/kept'))") == "True\n"
    assert run("print(__import__('os').path.exists('/tmp/kept'))\nprint(x)").startswith("False\nTraceback")


def test_numpy_is_there():
    code = "import numpy\nprint((numpy.ones((300, 300)) @ numpy.ones((300, 300)))[0, 0])"
    assert run(code) == "300.0\n"


# The tool


def test_each_program_is_confirmed():
    asked = []
    asking = Python(confirm=lambda code: asked.append(code) or "good" in code)
    assert asking.run(Message("assistant", "print('good')", "analysis", "python")).content == "good\n"
    assert asking.run(Message("assistant", "print('evil')", "analysis", "python")).content == python_module.REFUSED
    assert asked == ["print('good')", "print('evil')"]


def test_the_model_is_told_what_is_different():
    namespace = Python(seconds=7).namespace
    assert namespace.name == "python" and not namespace.functions
    assert namespace.description.split("\n\n")[0] == PYTHON.description.split("\n\n")[0]
    assert "7 seconds" in namespace.description and "STATELESS" in namespace.description
    assert "Jupyter" not in namespace.description


@settings(max_examples=20)
@given(st.text(max_size=40) | st.text(st.characters(), max_size=20))
def test_any_text_gets_an_answer(code):
    assert run(f"0\n{code}").encode()


@pytest.mark.parametrize("missing", sandbox.PROGRAMS)
def test_without_its_programs_the_tool_is_not_offered(missing, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sandbox.shutil, "which", lambda name: None if name == missing else f"/usr/bin/{name}")
        with pytest.raises(InputError, match=f"the tool python is not offered: {missing} is not installed"):
            Python()


def test_where_bubblewrap_is_not_permitted_the_tool_is_not_offered(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sandbox, "_isolation", lambda: ["--no-such-option"])
        with pytest.raises(InputError, match="cannot make a sandbox here: .*no-such-option"):
            Python()


def test_a_sandbox_that_cannot_be_started_is_an_answer(monkeypatch):
    broken = Python()
    with monkeypatch.context() as patch:
        patch.setattr(sandbox, "_command", lambda script, limits: ["/no/such/program"])
        content = broken.run(Message("assistant", "", "analysis", "python")).content
    assert content.startswith("[The sandbox could not be started: [Errno 2]")


def test_if_memory_runs_out_the_kernel_ends_the_program_first():
    assert run("print(open('/proc/self/oom_score_adj').read())").strip() == "1000"


def test_where_the_interpreter_would_show_the_home_folder_the_tool_is_not_offered(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("HOME", f"{sys.prefix}/home")
        with pytest.raises(InputError, match="which holds the home folder; the sandbox would show it"):
            Python()


@given(st.lists(st.binary(max_size=30), max_size=9), st.integers(0, 20))
def test_a_record_keeps_the_beginning_and_the_end(parts, half):
    record = sandbox.Record(2 * half)
    for part in parts:
        record.add(part)
    whole = b"".join(parts)
    assert record.left_out == max(0, len(whole) - 2 * half)
    assert record.head == whole[:half] and (record.head + record.tail == whole or record.left_out)
    assert record.tail == whole[half:][-half:] if half else not record.tail
