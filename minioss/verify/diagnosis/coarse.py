"""Mistakes under rounding: what explains the deviation of a port whose noise may be larger than the mistake.

Rounding flips the router's choice at some tokens, and these are then off by a hundred times what the others
are. So every token is weighed by what is left of it:

    coefficient a = Σ w d·e / Σ w |e|²      w = 1 / |d - a e|²      1 for the true mistake
    strength      mean over tokens of ln |d|² - ln |d - e|², over its standard error

with errors from the spread over whole tokens. The coefficient alone deceives: a mistake whose one effect is a
flipped choice has it at 1 when rounding flips the same. The strength does not, since one token is one token.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minioss.verify.diagnosis.evidence import Evidence, apart
from minioss.verify.diagnosis.noise import Noise
from minioss.verify.reference import Names, Reference

ROUNDS = 10
STRONG = 5.0  # a hundred mistakes are tried on each port
SURELY = 2.0  # standard errors: a strength that is as much more or less than STRONG leaves little doubt
DISTINCT = 3.0
FEWEST_TOKENS = 12
COEFFICIENT_ROOM, MOST_ROOM = 0.1, 0.25


class Support(NamedTuple):
    """How much speaks for a mistake."""

    coefficient: float
    error: float
    strength: float

    def holds(self, least: float = STRONG) -> bool:
        """Strong, and of the right size."""
        room = min(MOST_ROOM, COEFFICIENT_ROOM + 3 * self.error)
        return self.strength > least and abs(self.coefficient - 1) < room


def support(noise: Noise, right: Evidence, wrong: Evidence) -> Support:
    """How much speaks for a mistake, against there being none."""
    return Support(*_coefficient(noise, right, wrong), _strength(gain(noise, right, wrong)))


def holding(port: Reference, noise: Noise, evidence: Mapping[Names, Evidence]) -> list[Names]:
    """The mistakes that hold, best first, without those that may hold for right ports of some precision, too."""
    held = [names for names, each in evidence.items() if names and support(noise, evidence[()], each).holds()]
    wrong = [names for names in held if not _usual(port, noise, names)]
    return sorted(wrong, key=lambda names: gain(noise, evidence[()], evidence[names]).sum(), reverse=True)


def could_show(noise: Noise, right: Evidence, wrong: Evidence) -> bool:
    """Whether a mistake would surely hold of a port that makes it, and beside that is off by what this one is.

    What this one is off by is d - a e, with a from 0 to 1, since the mistake may be there already.
    """
    a = min(max(_coefficient(noise, right, wrong)[0], 0), 1)
    without, with_it = _left(right, wrong, a), _left(right, wrong, a - 1)
    return support(noise, right._replace(left_KT=with_it), wrong._replace(left_KT=without)).holds(STRONG + SURELY)


def equals(noise: Noise, evidence: Mapping[Names, Evidence], order: Sequence[Names]) -> list[Names]:
    """The first of these, and those of the others that it does not clearly outdo."""
    gains = [gain(noise, evidence[()], evidence[names]) for names in order]
    return [names for names, each in zip(order, gains, strict=True) if _strength(gains[0] - each) < DISTINCT]


def gain(noise: Noise, right: Evidence, wrong: Evidence) -> NDArray:
    """(T,): how much less is left of each token with the mistake than without, as a logarithm."""
    return np.log((right.left_KT + noise.floor_K1) / (wrong.left_KT + noise.floor_K1)).sum(axis=0)


def _usual(port: Reference, noise: Noise, names: Names) -> bool:
    sides = port.exact, port.predicted(names)
    pairs = (
        [Evidence(apart(port, found, p), apart(port, p, port.exact), None) for p in sides] for found in port.rounded
    )
    return any(support(noise, *pair).holds(STRONG - SURELY) for pair in pairs)


def _coefficient(noise: Noise, right: Evidence, wrong: Evidence) -> tuple[float, float]:
    """The robust coefficient and its standard error, with every token by itself."""
    effect_KT, a = wrong.effect_KT, 1.0
    for _ in range(ROUNDS):
        weight_KT = 1 / (_left(right, wrong, a) + noise.floor_K1)
        total = (weight_KT * effect_KT).sum()
        if total == 0:
            return 0.0, np.inf
        a = (weight_KT * _along(right, wrong)).sum() / total
    pull_T = (weight_KT * (_along(right, wrong) - a * effect_KT)).sum(axis=0)
    return float(a), float(np.sqrt(np.square(pull_T).sum()) / total)


def _along(right: Evidence, wrong: Evidence) -> NDArray:
    """d·e"""
    return (right.left_KT + wrong.effect_KT - wrong.left_KT) / 2


def _left(right: Evidence, wrong: Evidence, a: float) -> NDArray:
    """|d - a e|²"""
    return np.maximum(right.left_KT - 2 * a * _along(right, wrong) + a**2 * wrong.effect_KT, 0)


def _strength(gain_T: NDArray) -> float:
    changed = gain_T[gain_T != 0]
    if len(changed) < FEWEST_TOKENS:
        return 0.0
    return float(changed.mean() / (changed.std(ddof=1) / np.sqrt(len(changed)) + 1e-12))
