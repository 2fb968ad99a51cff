"""What was found out about a port, as a verdict with its reasons."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from numpy.typing import NDArray

from minioss.model import Model
from minioss.verify.diagnosis.coarse import FEWEST_TOKENS
from minioss.verify.diagnosis.evidence import port
from minioss.verify.diagnosis.findings import FLOAT32, ROUNDED, Findings, examine
from minioss.verify.diagnosis.noise import ALIKE
from minioss.verify.faults import CATALOGUE
from minioss.verify.files import checked_trace, read_trace
from minioss.verify.verdict import Verdict

PAGE = "docs/faults.md"
MOST_TOKENS = 1024
# Of ports whose mistakes were known: how often such an answer was given, and how often it was true (docs/diagnosing.md).
GIVEN_AND_TRUE = {
    "named, float32": (341, 341),
    "named, rounded": (276, 276),
    "unknown": (41, 41),
    "right, float32": (114, 114),
    "right, rounded": (238, 237),
    "right, rounded in another way": (34, 34),
}


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
    unseen : mistakes that would not be found on these tokens in this precision, the largest first, and their effect
        over the noise (NMSE over NMSE, in the array where that is most); not asked where one is found
    """

    verdict: Verdict
    precision: str | None
    alternatives: bool
    coefficient: tuple[float, float] | None
    runner_up: str | None
    unseen: Mapping[str, float]


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
        found.unseen,
    )


def verdict(found: Findings, names: tuple[str, ...], T: int) -> Verdict:
    """Right, wrong or cannot say, how sure, and why."""
    reasons, sure = tuple(told(found, names, T)), confidence(answer(found))
    if names or not found.explanations:
        return Verdict("wrong", names, found.block, sure, reasons)
    if found.precision != FLOAT32 and T < FEWEST_TOKENS:
        return Verdict("cannot say", (), None, 0.0, reasons)
    return Verdict("right", (), None, sure, reasons)


def answer(found: Findings) -> str:
    """Which kind of answer this is, of `GIVEN_AND_TRUE`."""
    if not found.explanations:
        return "unknown"
    what, exact = "named" if any(found.explanations) else "right", found.precision == FLOAT32
    unlike = what == "right" and not exact and found.alike < ALIKE
    return f"{what}, {'float32' if exact else 'rounded'}{' in another way' if unlike else ''}"


def confidence(answer: str) -> float:
    """How often such an answer is true, by Laplace's rule of succession."""
    given, true = GIVEN_AND_TRUE[answer]
    return round((true + 1) / (given + 2), 3)


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
    yield from _unseen(found, T)


def _unseen(found: Findings, T: int) -> Iterator[str]:
    small = {name: share for name, share in found.unseen.items() if share > 0 and found.precision == ROUNDED}
    hidden = [name for name in found.unseen if name not in small]
    if small:
        listed = ", ".join(f"{name} ({share:.2g} of the noise)" for name, share in small.items())
        longer = f"more tokens, up to {MOST_TOKENS}, or " if T < MOST_TOKENS else ""
        yield f"Could not be seen beside the rounding: {listed}; give {longer}float32."
    if hidden:
        more = f"; up to {MOST_TOKENS} tokens may show more of them" if T < MOST_TOKENS else ""
        yield f"These tokens cannot show {', '.join(hidden)}{more}."


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
