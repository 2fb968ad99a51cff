"""The port's errors beside the noise of its precision: array by array, and the router's choices."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minioss.verify.keys import block, keys
from minioss.verify.measures import cosine
from minioss.verify.noise import find, measure, ratio
from minioss.verify.reference import Arrays, Reference
from minioss.verify.rounding import RUNGS


class Figure(NamedTuple):
    """One array of the port against the reference.

    Parameters
    ----------
    name : as in docs/trace-format.md
    block : the part of the model that gives it
    largest : the largest difference; of router.experts, how far below the choice a chosen expert's logit was
    nmse, cosine : of the whole array; None for router.experts
    noise : the NMSE of the reference in the port's precision; for router.experts, the largest gap explained
    ratio : the error over the largest that is explained: above 1 it is a mistake
    """

    name: str
    block: str
    largest: float
    nmse: float | None
    cosine: float | None
    noise: float
    ratio: float


class Judge:
    """The port's errors beside the noise of its precision."""

    def __init__(self, reference: Reference, precision: str | None) -> None:
        self.reference, self.theirs = reference, reference.theirs
        self.experts = [name.replace("logits", "experts") for name in reference.routers]
        self.same_experts = all(name in self.theirs for name in self.experts)
        self.errors = self.errors_of(self.theirs)
        if precision is None:
            self.noises, self.doubt = find(reference, self.errors, self.same_experts)
        else:
            self.noises = [measure(reference, rung, self.errors) for rung in RUNGS if rung.precision == precision]
            self.doubt = None
        self.precision = self.noises[0].rung.precision
        self.judged = self._judged()

    def errors_of(self, arrays: Arrays) -> dict[str, NDArray]:
        """What each array that is no choice of experts is off by, token by token: (T,) each."""
        errors = self.reference.errors(arrays, self.reference.exact)
        return {name: errors_T for name, errors_T in errors.items() if name not in self.experts}

    def ratio(self, name: str, errors_T: NDArray) -> float:
        """The error of an array over the largest that any way to compute in the port's precision explains."""
        if self.judged == 0:
            return 0.0
        judged = slice(0, self.judged)
        return min(
            ratio(errors_T[judged], noise.errors[name][judged], self.precision, self.same_experts)
            for noise in self.noises
        )

    def is_wrong(self, arrays: Arrays) -> bool:
        """Whether a port with these arrays would be judged wrong."""
        return any(self.ratio(name, errors_T) > 1 for name, errors_T in self.errors_of(arrays).items())

    def figures(self) -> Iterator[Figure]:
        """One for each array that the port gave."""
        known = keys(self.reference.model.config)
        for name in self.reference.names:
            if name in self.errors:
                figures = *self._figures_of(name), self.ratio(name, self.errors[name])
            else:
                layer = self.experts.index(name)
                gap, explained = float(self._gaps(layer).max()), self._explained(layer)
                figures = gap, None, None, explained, gap / explained
            yield Figure(name, block(name, known[name]), *figures)

    def _figures_of(self, name: str) -> tuple[float, float, float, float]:
        """The largest difference, the NMSE, the cosine, and the noise's NMSE: infinite where other keys are hidden."""
        theirs, exact = self.theirs[name], self.reference.exact[name]
        finite = np.isfinite(exact) & np.isfinite(theirs)
        same_hidden = np.array_equal(np.isfinite(exact), np.isfinite(theirs))
        largest = np.abs((theirs - exact)[finite]).max() if same_hidden else np.inf
        nmse = np.mean(self.errors[name]) if same_hidden else np.inf
        noise = min(np.mean(noise.errors[name]) for noise in self.noises)
        return float(largest), float(nmse), float(cosine(theirs[finite], exact[finite])), float(noise)

    @property
    def ties(self) -> int:
        """How often the port chose another expert, as near as the noise lets it."""
        layers = [layer for layer, name in enumerate(self.experts) if name in self.theirs]
        gaps = [(self._gaps(layer), self._explained(layer)) for layer in layers]
        return sum(int(np.sum((gaps_T > 0) & (gaps_T <= explained))) for gaps_T, explained in gaps)

    def _gaps(self, layer: int) -> NDArray:
        """How far the logit of the port's worst choice is below those that should have been chosen: (T,)."""
        name, chosen_TA = self.reference.routers[layer], self.theirs[self.experts[layer]]
        logits_TE = self.theirs.get(name, self.reference.exact[name]).astype(np.float64)
        lowest_T = np.take_along_axis(logits_TE, chosen_TA, axis=-1).min(axis=-1)
        expected_T = np.sort(logits_TE, axis=-1)[:, -chosen_TA.shape[-1]]
        twice_T = (np.diff(np.sort(chosen_TA, axis=-1), axis=-1) == 0).any(axis=-1)
        return np.where(twice_T, np.inf, expected_T - lowest_T)

    def _explained(self, layer: int) -> float:
        return max(*(noise.gaps[layer] for noise in self.noises), np.finfo(float).tiny)

    def _judged(self) -> int:
        """How many tokens come before the first near-tie that may have gone the other way without our knowing."""
        margins_LT = self.reference.margins(self.reference.exact)
        explained_L1 = [[self._explained(layer)] for layer in range(len(margins_LT))]
        near_T = (margins_LT <= explained_L1).any(axis=0) & (self.precision == "float32")
        return int(np.argmax(near_T)) if near_T.any() else len(near_T)
