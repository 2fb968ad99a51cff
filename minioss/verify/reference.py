"""The reference, run from the port's own arrays.

Every array that the port gives goes on in place of the reference's, so that each step is computed from
what the port computed it from. Run like that in float64 it gives what the port should have had; in another
precision, what a right port may be off by; with a mistake, what the port would show had it made that one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from minioss.attention import visible
from minioss.config import Config
from minioss.model import Model
from minioss.verify.keys import Key, keys
from minioss.verify.tracing import trace


class Reference:
    """A model and a port's arrays.

    Parameters
    ----------
    model : its dtype and precision do not matter
    theirs : as `read_trace` gives them
    """

    def __init__(self, model: Model, theirs: Mapping[str, NDArray]) -> None:
        self.config, self.theirs = model.config, theirs
        self.model = replace(model, dtype="float64", kernels="numpy", activations="float32", cache="float32")
        self.layers = range(model.config.num_hidden_layers)
        self._keys = keys(model.config)
        self._wanted = [*theirs, *(f"layers.{layer}.router.logits" for layer in self.layers)]
        self._instead = dict(handed_on(theirs, model.config))
        self.exact = self.run()
        self._power = {name: self._power_of(name) for name in self.numbers(self.exact)}

    def run(self, **changes: str) -> dict[str, NDArray]:
        """A trace of the arrays that the port gave, and of all router logits, with fields of the model changed."""
        return trace(replace(self.model, **changes), self.theirs["tokens"], self._wanted, self._instead)

    def numbers(self, arrays: Mapping[str, NDArray]) -> list[str]:
        """The names of those that are not integers."""
        return [name for name in arrays if not self._keys[name].is_integer]

    def off_by(self, found: Mapping[str, NDArray]) -> dict[str, NDArray]:
        """What each array differs by from the exact one, token by token: (T, X) each."""
        return {name: difference(found[name], self.exact[name], self._keys[name]) for name in self.numbers(found)}

    def errors(self, off: Mapping[str, NDArray]) -> dict[str, NDArray]:
        """Each token's squared error over the mean squared size of a token: (T,) each. Their mean is the NMSE."""
        return {name: np.sum(np.square(values_TX), axis=-1) / self._power[name] for name, values_TX in off.items()}

    def _power_of(self, name: str) -> float:
        values_TX = rows(self.exact[name], self._keys[name])
        total = np.sum(np.square(values_TX, where=np.isfinite(values_TX), out=np.zeros_like(values_TX)))
        return max(total / len(values_TX), np.finfo(float).tiny)


def rows(values: NDArray, key: Key) -> NDArray[np.float64]:
    """All numbers of each token in a row: (T, X)."""
    values = np.moveaxis(values, key.axes.split(", ").index("T"), 0)
    return values.reshape(len(values), -1).astype(np.float64)


def difference(found: NDArray, exact: NDArray, key: Key) -> NDArray[np.float64]:
    """found - exact, (T, X): 0 where both are -infinity, infinite where one is."""
    found, exact = rows(found, key), rows(exact, key)
    both = np.isneginf(found) & np.isneginf(exact)
    return np.subtract(found, exact, where=~both, out=np.zeros_like(exact))


def handed_on(theirs: Mapping[str, NDArray], config: Config) -> Iterator[tuple[str, NDArray]]:
    """The port's arrays that the next step can be computed from: not scores where other keys are hidden than should be."""
    for name, values in theirs.items():
        if name.endswith("attention.scores"):
            T = values.shape[1]
            seen_TT = visible(T, T, config.window(int(name.split(".")[1])))
            if not np.array_equal(np.isfinite(values), np.broadcast_to(np.c_[seen_TT, np.ones(T, bool)], values.shape)):
                continue
        if name not in ("tokens", "logits"):
            yield name, values
