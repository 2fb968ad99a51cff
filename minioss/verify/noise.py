"""What a precision explains: what the reference is off by in that precision, from the same arrays.

    error of token t = |found[t] - exact[t]|² / mean over t of |exact[t]|²

An array is explained where, over every stretch of tokens, the port's error is at most `SLACK` times the
reference's. Where the port's choice of experts is not given, a near-tie of the router may have gone the
other way, and what follows then is another text. In float32 that is rare: the tokens before the first near-tie
are judged. In coarser precisions it happens all the time, to the reference too: the medians of all tokens are compared.

The precision is float32 unless the port's deviation looks like another one's, token by token: who rounds
in the same places is off by much the same, and no mistake is.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minioss.verify.measures import likeness
from minioss.verify.reference import Reference
from minioss.verify.rounding import RUNGS, Rung

SLACK = 16.0  # 4 times as large: sums in another order, near-ties that went another way
SLACK_SAME_EXPERTS = 4.0  # of bfloat16 and int8 where no choice is open: rounding alone
ROUNDED_ONCE = {"float32": 2.0**-48, "bfloat16": 2.0**-18, "int8": 2.0**-18}  # at most, of an array that is only stored
TIE = 16.0  # times the median deviation of a logit
TOKENS_PER_STRETCH = 16
LIKENESS = 0.2  # between -1 and 1; chance gives 0.1
TOO_GOOD = 100.0  # times less than the noise


class Noise(NamedTuple):
    """What the reference is off by on a rung.

    Parameters
    ----------
    rung : which
    errors : of each array, (T,)
    gaps : by layer, the difference between two of the router's logits that may come out as a tie
    likeness : how much the port's deviation looks like this one, from -1 to 1
    """

    rung: Rung
    errors: Mapping[str, NDArray]
    gaps: Sequence[float]
    likeness: float


def measure(reference: Reference, rung: Rung, errors: Mapping[str, NDArray]) -> Noise:
    """Run the reference on a rung; ``errors`` are the port's."""
    found = reference.predicted((), rung) or reference.exact
    noise, between = reference.errors(found, reference.exact), reference.errors(reference.theirs, found)
    noisy = [name for name in errors if noise[name].any()]
    alike = likeness(*(np.array([each[name] for name in noisy]) for each in (errors, noise, between))) if noisy else 0.0
    gaps = [TIE * deviation for deviation in reference.router_deviations(found, reference.exact)]
    return Noise(rung, noise, gaps, alike)


def ratio(errors_T: NDArray, noise_T: NDArray, precision: str, same_experts: bool) -> float:
    """The error over the largest that is explained, in the stretch of tokens where that is worst.

    Where near-ties are open, it is that of the middle token: one that went the other way spoils whole stretches.
    """
    if precision != "float32" and not same_experts:
        return float(np.median(errors_T) / (SLACK * max(np.median(noise_T), ROUNDED_ONCE[precision])))
    slack = SLACK if precision == "float32" else SLACK_SAME_EXPERTS
    least = max(np.mean(noise_T), ROUNDED_ONCE[precision])
    count = min(8, max(1, len(errors_T) // TOKENS_PER_STRETCH))
    stretches = zip(np.array_split(errors_T, count), np.array_split(noise_T, count), strict=True)
    return float(max(np.mean(errors) / (slack * max(np.mean(noise), least)) for errors, noise in stretches))


class Found(NamedTuple):
    """The ways to compute in the port's precision, and another precision that its errors' size alone would fit."""

    noises: list[Noise]
    doubt: str | None


def find(reference: Reference, errors: Mapping[str, NDArray], same_experts: bool) -> Found:
    """The precision that the port's deviation looks like, or else float32."""
    fine = measure(reference, RUNGS[0], errors)
    if all(ratio(errors[name], fine.errors[name], "float32", same_experts) <= 1 for name in errors):
        return Found([fine], None)
    coarse = [measure(reference, rung, errors) for rung in RUNGS[1:]]
    possible = [noise for noise in coarse if not _refuted(noise, fine, errors)]
    possible.sort(key=lambda noise: -noise.likeness)
    if possible and possible[0].likeness >= LIKENESS:
        return Found([noise for noise in coarse if noise.rung.precision == possible[0].rung.precision], None)
    for noise in possible:
        precision = noise.rung.precision
        if all(ratio(errors[name], noise.errors[name], precision, same_experts) <= 1 for name in errors):
            return Found([fine], precision)
    return Found([fine], None)


def _refuted(coarse: Noise, fine: Noise, errors: Mapping[str, NDArray]) -> bool:
    """Whether most arrays that the rung spoils are better than it could be: by far, or in one token as in float32."""
    explained = {name: np.maximum(fine.errors[name], ROUNDED_ONCE["float32"]) for name in errors}
    spoilt = [name for name in errors if np.mean(coarse.errors[name]) > 1000 * np.mean(explained[name])]
    better = [
        np.min(errors[name] / explained[name]) <= SLACK
        or np.median(errors[name]) < np.median(coarse.errors[name]) / TOO_GOOD
        for name in spoilt
    ]
    return sum(better) >= len(spoilt) / 2
