"""What `verify` and `diagnose` answer, and the exit code of each answer."""

from typing import NamedTuple


class Verdict(NamedTuple):
    """An answer about a port.

    Parameters
    ----------
    verdict : "right", "wrong" or "cannot say"
    mistakes : names of the catalogue, best first
    block : where the port first departs, as "layers.3.router" or "head"; None where it does not, or it cannot be told
    confidence : in the verdict, from 0 to 1
    reasons : sentences for people
    """

    verdict: str
    mistakes: tuple[str, ...]
    block: str | None
    confidence: float
    reasons: tuple[str, ...]


EXIT = {"right": 0, "wrong": 1, "cannot say": 2}
