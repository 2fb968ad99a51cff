"""What was found out about a port, as a verdict with its reasons."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from numpy.typing import NDArray

from minioss.model import Model
from minioss.verify.diagnosis.coarse import FEWEST_TOKENS
from minioss.verify.diagnosis.evidence import port
from minioss.verify.diagnosis.findings import FLOAT32, Findings, examine
from minioss.verify.diagnosis.noise import ALIKE
from minioss.verify.faults import CATALOGUE
from minioss.verify.files import checked_trace, read_trace
from minioss.verify.verdict import Verdict

PAGE = "docs/faults.md"
MOST_TOKENS = 1024
# How often such answers were true of ports whose mistake was known (docs/verifying.md), with room for what was not tried.
CERTAIN, SURE, LIKELY, POSSIBLE = 0.999, 0.99, 0.95, 0.7


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a port.

    Parameters
    ----------
    verdict : the answer; `mistakes` are those that act together, or the several that do the same on these tokens
    precision : what explains the rest: "float32" or "bfloat16 or int8"; None where nothing does
    alternatives : whether any one of the mistakes explains the port, rather than all of them together
    coefficient : how large the mistake is beside what it should be, and the standard error of that; None unless one is named
    runner_up : the mistake that explains most among all the others
    unseen : mistakes that these tokens cannot show; not asked where one is found
    """

    verdict: Verdict
    precision: str | None
    alternatives: bool
    coefficient: tuple[float, float] | None
    runner_up: str | None
    unseen: tuple[str, ...]


def diagnose(model: Model, theirs: str | Path | Mapping[str, NDArray]) -> Diagnosis:
    """Find the mistake that explains what a port computed.

    Each mistake of docs/faults.md is switched on in the reference, and the one whose effect the port's deviation
    has, in direction and in size, is named; so are two that act together, in float32. What none explains is unknown.

    Parameters
    ----------
    model : the checkpoint that the port ran; its dtype and precision do not matter
    theirs : a trace file, or arrays by name: tokens, and logits or any others of docs/trace-format.md

    Raises
    ------
    InputError
        That says what is wrong with the trace.
    """
    read = checked_trace if isinstance(theirs, Mapping) else read_trace
    arrays = read(theirs, model.config)
    found = examine(port(model, arrays))
    names = tuple(dict.fromkeys(name for names in found.explanations for name in names))
    return Diagnosis(
        verdict(found, names, len(arrays["tokens"])),
        found.precision,
        len(found.explanations) > 1,
        found.support and found.support[:2],
        found.runner_up,
        tuple(found.unseen),
    )


def verdict(found: Findings, names: tuple[str, ...], T: int) -> Verdict:
    """Right, wrong or cannot say, how sure, and why."""
    exact, reasons = found.precision == FLOAT32, tuple(told(found, names, T))
    if names:
        return Verdict("wrong", names, found.block, CERTAIN if exact else SURE, reasons)
    if not found.explanations:
        return Verdict("wrong", (), found.block, LIKELY, reasons)
    if not exact and T < FEWEST_TOKENS:
        return Verdict("cannot say", (), None, 0.0, reasons)
    return Verdict("right", (), None, CERTAIN if exact else LIKELY if found.alike >= ALIKE else POSSIBLE, reasons)


def told(found: Findings, names: tuple[str, ...], T: int) -> Iterator[str]:
    """The reasons."""
    if names:
        yield from _mistakes(found, names)
    elif not found.explanations:
        yield f"Nothing explains how it departs: not float32, bfloat16 or int8, and none of {len(CATALOGUE)} known mistakes."
    else:
        yield f"What departs is what {found.precision} explains, and no known mistake explains more."
        if found.precision != FLOAT32 and found.alike < ALIKE:
            yield "It does not look like the usual rounding: in a port that computes in float32 it is an unknown mistake."
    if found.runner_up:
        yield f"The runner-up is {found.runner_up}."
    if found.unseen:
        more = f"; up to {MOST_TOKENS} tokens may show more of them" if T < MOST_TOKENS else ""
        yield f"These tokens cannot show {', '.join(found.unseen)}{more}."


def _mistakes(found: Findings, names: tuple[str, ...]) -> Iterator[str]:
    if len(found.explanations) > 1:
        yield f"Any of {len(found.explanations)} explains it; on these tokens they cannot be told apart."
    elif len(names) > 1:
        yield "Two mistakes explain it together."
    for name in names:
        yield f"{name}: {CATALOGUE[name].wrong}"
        yield f"Instead: {CATALOGUE[name].official} See {PAGE}#{name}"
    if found.support:
        coefficient, error, _ = found.support
        yield f"The port has {coefficient:.3f} ± {error:.3f} times its effect; {found.precision} explains what is left."
