"""Is a port right? Each of its arrays against the reference, beside what its precision explains.

`reference` charges errors to the step that makes them, `noise` says what is explained, `blindness` what the
test could not have seen.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minioss.config import Config
from minioss.errors import InputError
from minioss.model import Model
from minioss.verify.blindness import blindness
from minioss.verify.files import checked_trace, read_trace
from minioss.verify.judging import Figure, Judge
from minioss.verify.keys import block, inputs, keys
from minioss.verify.measures import kl, top_k_agreement
from minioss.verify.reference import Reference, reference
from minioss.verify.rounding import PRECISIONS
from minioss.verify.verdict import Verdict

UNRELATED = 0.2  # a cosine below which two arrays have nothing to do with one another


class Agreement(NamedTuple):
    """Of the logits, with none of the port's arrays handed on.

    Parameters
    ----------
    kl : the mean divergence, in nats
    top_1, top_10 : which share of the reference's most and ten most probable tokens are the port's too
    """

    kl: float
    top_1: float
    top_10: float


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Parameters
    ----------
    verdict : the answer
    precision : that of the port: "float32", "bfloat16" or "int8"
    tokens : how many there are
    judged : how many of them count: in float32, with the choice of experts unknown, those before a near-tie
    ties : how often the port took another expert where the router's margin was within the noise
    figures : one for each array, in the order in which they are computed
    logits : how they agree; None where they are not given
    """

    verdict: Verdict
    precision: str
    tokens: int
    judged: int
    ties: int
    figures: tuple[Figure, ...]
    logits: Agreement | None


def compare(model: Model, theirs: str | Path | Mapping[str, NDArray], precision: str | None = None) -> Comparison:
    """Compare what a port computed with the definition.

    Parameters
    ----------
    model : the checkpoint that the port ran; its dtype and precision do not matter
    theirs : a trace file, or arrays by name: tokens, and logits or any others of docs/trace-format.md
    precision : "float32", "bfloat16" or "int8" where the port's is known; None to find it

    Raises
    ------
    InputError
        That says what is wrong with the trace, or that there is no such precision.
    """
    if precision not in (None, *PRECISIONS):
        raise InputError(f"precision is {precision!r}; expected {', '.join(map(repr, PRECISIONS))} or None")
    read = checked_trace if isinstance(theirs, Mapping) else read_trace
    with np.errstate(over="ignore", invalid="ignore"):
        return _compared(reference(model, read(theirs, model.config)), precision)


def _compared(reference: Reference, precision: str | None) -> Comparison:
    judge = Judge(reference, precision)
    figures = tuple(judge.figures())
    return Comparison(
        verdict(judge, figures),
        judge.precision,
        len(reference.theirs["tokens"]),
        judge.judged,
        judge.ties,
        figures,
        agreement(reference),
    )


def agreement(reference: Reference) -> Agreement | None:
    """How the port's logits agree with those of the reference by itself."""
    if "logits" not in reference.theirs:
        return None
    pair = reference.theirs["logits"], reference.model(reference.theirs["tokens"])
    return Agreement(float(np.mean(kl(*pair))), top_k_agreement(*pair, 1), top_k_agreement(*pair, 10))


def verdict(judge: Judge, figures: Sequence[Figure]) -> Verdict:
    """Right, wrong or cannot say."""
    wrong = [figure for figure in figures if figure.ratio > 1]
    notes = tuple(near_ties(judge))
    if wrong and judge.doubt:
        return Verdict("cannot say", (), None, 0.0, (departure(wrong[0], judge.precision), doubt(judge.doubt), *notes))
    if wrong:
        where = departs_in(wrong[0].name, judge.theirs, judge.reference.model.config)
        worst = max(figure.ratio for figure in wrong)
        reasons = (departure(wrong[0], judge.precision), *unrelated(figures), *notes)
        return Verdict("wrong", (), where, 1 - 1 / worst, reasons)
    if judge.judged == 0:
        return Verdict("cannot say", (), None, 0.0, notes)
    blind = blindness(judge.reference, judge.is_wrong)
    if blind.decisive:
        return Verdict("cannot say", (), None, 0.0, (*blind.decisive, *notes, *blind.remarks))
    return Verdict("right", (), None, blind.seen, (explained(figures, judge.precision), *notes, *blind.remarks))


def doubt(precision: str) -> str:
    """Why an error that a precision would explain is doubted all the same."""
    return (
        f"{precision} would explain an error of that size, but it does not look like {precision} as it is known here: "
        "it is wrong if the port computes in float32. Say with the precision which it is."
    )


def explained(figures: Sequence[Figure], precision: str) -> str:
    """Why a port is right: the array that comes nearest to its limit."""
    worst = max(figures, key=lambda figure: figure.ratio)
    return (
        f"Nothing is off by more than {precision} explains: {worst.name}, of {len(figures)} array(s), comes nearest "
        f"to the limit, at {worst.ratio:.0%} of it."
    )


def departure(figure: Figure, precision: str) -> str:
    """Why a port is wrong: by how much one array is over its limit."""
    if figure.nmse is None:
        return (
            f"{figure.name} departs: an expert's logit is {figure.largest:.2g} below those of the right choice, "
            f"where {precision} explains {figure.noise:.2g}."
        )
    if np.isinf(figure.nmse):
        return f"{figure.name} departs: -infinity is not where it should be, so other keys are hidden."
    return f"{figure.name} departs: its error is {figure.ratio:.2g} times the largest that {precision} explains."


def unrelated(figures: Sequence[Figure]) -> Iterator[str]:
    """Arrays that another checkpoint would give."""
    for figure in figures:
        if figure.name in ("embedding", "logits") and figure.cosine < UNRELATED:
            yield (
                f"{figure.name} has nothing to do with this checkpoint's (cosine {figure.cosine:.2f}): "
                "the port may have run another one, or other tokens."
            )


def near_ties(judge: Judge) -> Iterator[str]:
    """What near-ties of the router did to the test."""
    ties, T = judge.ties, len(judge.theirs["tokens"])
    if ties:
        yield f"{ties} time(s) the port chose another expert where the router's logits tie within the noise."
    if judge.judged < T:
        yield (
            f"At token {judge.judged} the router's logits tie within the noise: only the tokens before it, of {T}, "
            "are judged. With router.experts of all layers in the trace, all are."
        )


def departs_in(name: str, theirs: Mapping[str, NDArray], config: Config) -> str | None:
    """The block that gave an array; or, where what goes into it is not given, what holds all that may have gone wrong.

    That is "layers.3.router", or "layers.3" for any block of that layer, or None for any at all.
    """
    known, suspects = keys(config), [name]
    for suspect in suspects:  # which grow on the way
        suspects += [each for each in inputs(suspect, config) if each not in theirs and each not in suspects]
    blocks = {block(each, known[each]) for each in suspects[1:]} - {"rope"} | {block(name, known[name])}
    layers = {".".join(each.split(".")[:2]) for each in blocks}
    return blocks.pop() if len(blocks) == 1 else layers.pop() if len(layers) == 1 else None
