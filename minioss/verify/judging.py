"""The port's errors beside the noise of its precision: array by array, and the router's choices."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minioss.verify.keys import Key, block, keys
from minioss.verify.measures import cosine
from minioss.verify.noise import RUNGS, find, measure, ratio
from minioss.verify.reference import Reference, difference


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
        self.same_experts = all(f"layers.{layer}.router.experts" in self.theirs for layer in reference.layers)
        off = reference.off_by(self.theirs)
        self.errors = reference.errors(off)
        if precision is None:
            self.noises, self.doubt = find(reference, off, self.same_experts)
        else:
            self.noises = [measure(reference, rung, off) for rung in RUNGS if rung.precision == precision]
            self.doubt = None
        self.precision = self.noises[0].rung.precision
        self.judged = self._judged()

    def ratio(self, name: str, errors_T: NDArray) -> float:
        """The error of an array over the largest that any way to compute in the port's precision explains."""
        if self.judged == 0:
            return 0.0
        judged = slice(0, self.judged)
        return min(
            ratio(errors_T[judged], noise.errors[name][judged], self.precision, self.same_experts)
            for noise in self.noises
        )

    def is_wrong(self, errors: Mapping[str, NDArray]) -> bool:
        """Whether any of the port's arrays, with these errors, would be judged wrong."""
        return any(self.ratio(name, errors[name]) > 1 for name in self.errors)

    def figures(self) -> Iterator[Figure]:
        """One for each array that the port gave."""
        for name, key in keys(self.reference.config).items():
            if name in self.errors:
                yield Figure(name, block(name, key), *self._figures_of(name, key), self.ratio(name, self.errors[name]))
            elif name in self.theirs and name != "tokens":
                layer = int(name.split(".")[1])
                gap, explained = float(self._gaps(layer).max()), self._explained(layer)
                yield Figure(name, block(name, key), gap, None, None, explained, gap / explained)

    def _figures_of(self, name: str, key: Key) -> tuple[float, float, float, float]:
        """The largest difference, the NMSE, the cosine, and the noise's NMSE."""
        theirs, exact = self.theirs[name], self.reference.exact[name]
        finite = np.isfinite(exact) & np.isfinite(theirs)
        largest = np.abs(difference(theirs, exact, key)).max()
        noise = min(np.mean(noise.errors[name]) for noise in self.noises)
        return (
            float(largest),
            float(np.mean(self.errors[name])),
            float(cosine(theirs[finite], exact[finite])),
            float(noise),
        )

    def ties(self, layer: int) -> int:
        """Tokens for which the port chose another expert of a layer, as near as the noise lets it."""
        if f"layers.{layer}.router.experts" not in self.theirs:
            return 0
        gaps_T = self._gaps(layer)
        return int(np.sum((gaps_T > 0) & (gaps_T <= self._explained(layer))))

    def _gaps(self, layer: int) -> NDArray:
        """How far the logit of the port's worst choice is below those that should have been chosen: (T,)."""
        name, chosen_TA = f"layers.{layer}.router.logits", self.theirs[f"layers.{layer}.router.experts"]
        logits_TE = self.theirs.get(name, self.reference.exact[name]).astype(np.float64)
        lowest_T = np.take_along_axis(logits_TE, chosen_TA, axis=-1).min(axis=-1)
        expected_T = np.sort(logits_TE, axis=-1)[:, -chosen_TA.shape[-1]]
        twice_T = (np.diff(np.sort(chosen_TA, axis=-1), axis=-1) == 0).any(axis=-1)
        return np.where(twice_T, np.inf, expected_T - lowest_T)

    def _explained(self, layer: int) -> float:
        return max(*(noise.gaps[layer] for noise in self.noises), np.finfo(float).tiny)

    def _judged(self) -> int:
        """How many tokens come before the first near-tie that may have gone the other way without our knowing."""
        near_T = np.zeros(len(self.theirs["tokens"]), bool)
        A, E = self.reference.config.num_experts_per_tok, self.reference.config.num_local_experts
        if A < E and self.precision == "float32" and not self.same_experts:
            for layer in self.reference.layers:
                ordered_TE = np.sort(self.reference.exact[f"layers.{layer}.router.logits"], axis=-1)
                near_T |= ordered_TE[:, -A] - ordered_TE[:, -A - 1] <= self._explained(layer)
        return int(np.argmax(near_T)) if near_T.any() else len(near_T)
