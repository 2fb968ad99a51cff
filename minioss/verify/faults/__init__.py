"""The catalogue of mistakes: switch one on, and see what it breaks."""

import difflib
from contextlib import AbstractContextManager

from minioss import kernels
from minioss.errors import InputError
from minioss.verify.faults import attention, experts, head, mxfp4, norms, rope, router, tokens  # noqa: F401
from minioss.verify.faults.catalogue import CATALOGUE, Fault

__all__ = ["CATALOGUE", "Fault", "fault"]


def fault(name: str) -> AbstractContextManager[None]:
    """Make one mistake for the length of a ``with``. The model runs in NumPy within.

    Several may be nested. Of two that replace the same function the inner one counts, around what the
    outer one does where it calls that at all.

    Parameters
    ----------
    name : as docs/faults.md lists them

    Raises
    ------
    InputError
        Where there is no such mistake.
    """
    if name not in CATALOGUE:
        close = difflib.get_close_matches(str(name), CATALOGUE, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else "docs/faults.md lists them all"
        raise InputError(f"there is no fault {name!r}; {hint}")
    entry = CATALOGUE[name]
    return kernels.wrapping({entry.function: entry.twin})
