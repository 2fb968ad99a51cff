"""The tool ``python``: the model writes a program, and reads what it prints.

The model was trained with a Jupyter kernel that keeps its state. Here, as in the reference
implementation, each call is a fresh interpreter: then a call can be run, stopped and repeated by
itself, and nothing that a page told the model to do lives on into the next call. A model that is
told of a kernel would rely on earlier variables, so the description says that there is none.

Source: openai/gpt-oss, ``gpt_oss/tools/python_docker``.
"""

import signal
from collections.abc import Callable

from minioss.chat.tools import sandbox
from minioss.chat.tools.tool import answer
from minioss.errors import InputError
from minioss.text.harmony.builtin import PYTHON
from minioss.text.harmony.messages import Message, Namespace

SILENT = "[The program printed nothing. Use print() to see a value.]"
REFUSED = "[The user did not allow this program to run.]"


class Python:
    """Python programs in a sandbox (`minioss.chat.tools.sandbox`), for the model.

    Parameters
    ----------
    confirm : is shown each program before it runs, and says whether it may; None lets all of them run
    seconds : wall-clock time of a program
    memory : bytes of each of its processes
    output : bytes that the model reads of what it prints; the middle is left out

    Raises
    ------
    InputError
        Where there is no sandbox on this machine, with the reason.
    """

    built_in = True

    def __init__(
        self,
        confirm: Callable[[str], bool] | None = None,
        seconds: float = 120.0,
        memory: int = 2**30,
        output: int = 2**14,
    ) -> None:
        if (reason := sandbox.problem()) is not None:
            raise InputError(f"the tool python is not offered: {reason}")
        self._confirm = confirm
        self._limits = sandbox.Limits(seconds=seconds, memory=memory, output=output)
        self.namespace = Namespace("python", description=_description(self._limits))

    def run(self, call: Message) -> Message:
        """Run the program that the model wrote, and answer with what it printed."""
        code = str(call.content)
        if self._confirm is not None and not self._confirm(code):
            return answer(call, REFUSED, "python")
        try:
            outcome = sandbox.run(code, self._limits)
        except OSError as error:  # no more memory or processes on this machine, or bubblewrap was removed
            return answer(call, f"[The sandbox could not be started: {error}]", "python")
        return answer(call, self._report(outcome), "python")

    def _report(self, outcome: sandbox.Outcome) -> str:
        if outcome.status is None:
            return f"{outcome.output}\n[The program was stopped after {self._limits.seconds:g} seconds.]".lstrip()
        if 128 < outcome.status <= 128 + signal.SIGRTMAX:
            return f"{outcome.output}\n[The program was ended by signal {outcome.status - 128}.]".lstrip()
        return outcome.output if outcome.output.strip() else SILENT


def _description(limits: sandbox.Limits) -> str:
    """The first paragraph is that of the training; what follows says how this tool differs."""
    purpose = PYTHON.description.partition("\n\n")[0]
    return (
        f"{purpose}\n\n"
        "When you send a message containing Python code to python, it will be executed as a program of its own, and "
        "python will respond with what it prints, or time out after "
        f"{limits.seconds:g} seconds. Use print() to see a value. This is STATELESS: nothing is kept between calls, so "
        "send the whole code each time. There is no internet access. Files can be written in '/tmp' only, and are gone "
        "after the call."
    )
