"""How far right ports are from the definition: what each precision explains, measured on the port's own arrays.

Two scales. *Exact*: the port computes in float32; whatever is left above that is a mistake. *Coarse*: it rounds
to bfloat16 or int8, as the official codes do or as a rung of the precision ladder does; then single tokens say
little, because the router's choice may flip, and what counts is the middle and the upper tenth of the tokens.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minioss.verify.diagnosis.evidence import Evidence, apart, margins
from minioss.verify.measures import likeness
from minioss.verify.noise import ROUNDED_ONCE, TIE
from minioss.verify.reference import Names, Reference
from minioss.verify.rounding import COARSE, FLOAT32

EXACT_ROOM = 100.0  # ports add up in other orders
COARSE_ROOM = 6.0, 60.0  # and round in other places; the upper tenth may have flipped choices that ours has not
QUANTILES = (0.5, 0.9)
# Rounding leaves no token alone: where some are all but exact, what the others have is no rounding.
UNEVEN = 1e-3
# How much a deviation looks like the usual rounding: one that has nothing to do with it, 0.1; a right port of another
# kind of rounding, 0.2 and more. Where a step starts from the port's own arrays and rounds alike, nearly 1.
ALIKE, ALIKE_STEP_BY_STEP = 0.15, 0.5


class Noise(NamedTuple):
    """What is no mistake, for each array."""

    exact_K: NDArray  # no token has more, in float32
    coarse_KQ: NDArray  # nor do the middle and the upper tenth of the tokens, in bfloat16 and int8
    even_K: NDArray  # what the lowest tokens have, as a part of the middle
    tie: float  # a margin of the router within which float32 may choose otherwise
    alike: float  # how much the port's deviation looks like that of bfloat16 or int8, from -1 to 1

    @property
    def floor_K1(self) -> NDArray:
        """What float32 leaves at best."""
        return self.exact_K[:, None] / EXACT_ROOM

    def departs_exactly(self, evidence: Evidence) -> NDArray[np.bool_]:
        """(arrays, T): what float32 cannot explain. Near-ties of the router excuse what comes after, if that is not most."""
        excused_T = evidence.margin_T < self.tie
        excused_T &= excused_T.mean() < 0.5
        return (evidence.left_KT > self.exact_K[:, None]) & ~excused_T

    def departs_coarsely(self, evidence: Evidence) -> NDArray[np.bool_]:
        """(arrays,): what no rounding can explain."""
        too_much_K = (quantiles(evidence.left_KT) > self.coarse_KQ).any(axis=1)
        uneven_K = evenness(evidence.left_KT) < UNEVEN * self.even_K
        return (too_much_K | uneven_K) & self.departs_exactly(evidence).any(axis=1)


def measured(port: Reference, mistakes: Names = ()) -> Noise:
    """The noise of right ports, or of ports with these mistakes and no others."""
    wrong = port.predicted(mistakes)
    single = port.predicted(mistakes, FLOAT32) or wrong
    exact_KT, tie = apart(port, single, wrong), TIE * max(port.router_deviations(single, wrong))
    calm_T = margins(port, wrong) >= tie
    exact_K = exact_KT[:, calm_T].max(axis=1) if calm_T.any() else exact_KT.min(axis=1)
    rounded = list(filter(None, (port.predicted(mistakes, rung) for rung in COARSE))) if mistakes else port.rounded
    left = [apart(port, arrays, wrong) for arrays in rounded] or [exact_KT]
    left_KT = apart(port, port.theirs, wrong)
    off_K = (left_KT > EXACT_ROOM * exact_K[:, None]).any(axis=1)
    between = (apart(port, port.theirs, arrays) for arrays in rounded)
    alike = [likeness(left_KT[off_K], each[off_K], sides[off_K]) for each, sides in zip(left, between)]
    return Noise(
        EXACT_ROOM * np.maximum(exact_K, ROUNDED_ONCE["float32"]),
        COARSE_ROOM * np.maximum(np.max([quantiles(each) for each in left], axis=0), ROUNDED_ONCE["bfloat16"]),
        np.min([evenness(each) for each in left], axis=0),
        tie,
        max(alike, default=0.0),
    )


def quantiles(left_KT: NDArray) -> NDArray:
    """(arrays, quantiles) of the tokens."""
    return np.quantile(left_KT, QUANTILES, axis=1).T


def evenness(left_KT: NDArray) -> NDArray:
    """(arrays,): the lowest twentieth of the tokens over their middle."""
    low_K, middle_K = np.quantile(left_KT, (0.05, 0.5), axis=1)
    return low_K / np.where(middle_K > 0, middle_K, np.inf)
