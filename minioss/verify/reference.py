"""The reference, run from the port's own arrays.

Every array that the port gives goes on in place of the reference's, so that each step is computed from
what the port computed it from. Run like that in float64 it gives what the port should have had; in another
precision, what a right port may be off by; with a mistake, what the port would show had it made that one.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minioss import kernels
from minioss.attention import visible
from minioss.config import Config
from minioss.errors import InputError, NotFiniteError
from minioss.linear import decode
from minioss.model import Model
from minioss.parts import parts
from minioss.verify.faults import CATALOGUE, fault
from minioss.verify.rounding import COARSE, Rung
from minioss.verify.tracing import Recorder, joined

Arrays = Mapping[str, NDArray]
Names = tuple[str, ...]  # mistakes, all at once

MASKED = -1e4  # stands for -infinity, so that errors stay finite
MOST_VALUES = 2**27  # 1 GB in float64: smaller models are decoded once


@dataclass(frozen=True)
class Reference:
    """A model beside a port's arrays; `reference` makes it.

    Parameters
    ----------
    model : float64, as the checkpoint has it
    decoded : the same with its weights decoded
    theirs : arrays by name, tokens among them
    columns : of the vocabulary, those whose logits theirs has
    makes_choice : whether the port's choice of experts is made already where they are weighed. A mistake in the
        choice does not show in it then
    """

    model: Model
    decoded: Model
    theirs: Arrays
    columns: slice | NDArray[np.intp]
    makes_choice: bool

    @cached_property
    def names(self) -> list[str]:
        """The arrays that count, in the order in which they are computed."""
        return [name for name in self.theirs if name != "tokens"]

    @cached_property
    def routers(self) -> list[str]:
        """The names of the router's logits, layer by layer."""
        return [f"layers.{layer}.router.logits" for layer in range(self.model.config.num_hidden_layers)]

    @cached_property
    def exact(self) -> Arrays:
        """What each array should be, and the router's logits beside. An `InputError` where that is NaN or infinity."""
        try:
            return self._run((), None)
        except NotFiniteError as error:
            raise InputError(f"the reference cannot go on from the port's arrays: {error}") from None

    def predicted(self, mistakes: Names, rung: Rung | None = None) -> Arrays | None:
        """What each array should be if these mistakes were none, in float64 or on a rung of the precision ladder.

        None where that gives NaN or infinity.
        """
        try:
            return self._run(mistakes, rung)
        except NotFiniteError:
            return None

    @cached_property
    def rounded(self) -> list[Arrays]:
        """What each array may be in right ports that round to bfloat16 or int8."""
        return list(filter(None, (self.predicted((), rung) for rung in COARSE)))

    def _run(self, mistakes: Names, rung: Rung | None) -> Arrays:
        packed = any(CATALOGUE[name].function == "mxfp4.decode" for name in mistakes)
        model, rounded = self.model if packed else self.decoded, nullcontext
        if rung:
            model, rounded = replace(model, dtype="float32", activations=rung.activations), rung.rounding
        recorder = Recorder({*self.names, *self.routers}, self._handed_on)
        wrappers = recorder.wrappers()
        if not self.makes_choice:
            del wrappers["router.top_k"]
        with ExitStack() as stack:
            # Roundings first: a mistake then wraps the rounded function.
            for change in (rounded(), *map(fault, mistakes), kernels.wrapping({"transformer.unembed": self._few})):
                stack.enter_context(change)
            stack.enter_context(kernels.wrapping(wrappers))
            model(self.theirs["tokens"])
        return {name: joined(name, pieces) for name, pieces in recorder.parts.items()}

    @cached_property
    def _handed_on(self) -> Arrays:
        return dict(handed_on(self.theirs, self.model.config))

    def _few(self, right: Callable, x_TD: NDArray, weights: Any, *given: Any) -> NDArray:
        fewer = {name: getattr(weights, name)[self.columns] for name in ("embedding", "unembedding")}
        return right(x_TD, weights._replace(**fewer), *given)

    def errors(self, arrays: Arrays, others: Arrays) -> dict[str, NDArray]:
        """Each token's squared distance over the mean squared size of a token: (T,) each. Its mean is the NMSE."""
        return {name: self._distance(name, arrays, others) / self._power[name] for name in self.names}

    def _distance(self, name: str, arrays: Arrays, others: Arrays) -> NDArray:
        if np.array_equal(arrays[name], others[name]):
            return np.zeros(len(self.theirs["tokens"]))
        difference_TX = self._rows(name, arrays) - self._rows(name, others)
        return np.einsum("tx,tx->t", difference_TX, difference_TX)

    @cached_property
    def _power(self) -> dict[str, float]:
        squares = {name: np.square(self._rows(name, self.exact)) for name in self.names}
        return {name: float(np.mean(each.sum(axis=1, where=each < MASKED**2))) or 1.0 for name, each in squares.items()}

    def _rows(self, name: str, arrays: Arrays) -> NDArray[np.float64]:
        """All numbers of each token in a row: (T, X)."""
        values = arrays[name]
        if name.endswith("router.experts"):
            # A choice is worth its logits: where two are all but equal, either is right.
            logits = name.replace("experts", "logits")
            values = np.take_along_axis(self.theirs.get(logits, self.exact[logits]), values, axis=1)
        elif name.endswith(("attention.scores", "attention.weights")):
            values = np.maximum(values, MASKED).swapaxes(0, 1)
        return values.reshape(len(values), -1).astype(np.float64)

    def router_deviations(self, arrays: Arrays, others: Arrays) -> list[float]:
        """Layer by layer, the median difference of a router logit."""
        return [float(np.median(np.abs(arrays[name] - others[name]))) for name in self.routers]

    def margins(self, arrays: Arrays) -> NDArray:
        """(layers, T): how near the router is to another choice, infinite where its choice is given."""
        A, ordered_LTE = (
            self.model.config.num_experts_per_tok,
            np.sort([arrays[name] for name in self.routers], axis=-1),
        )
        if self.model.config.num_local_experts == A:
            return np.full(ordered_LTE.shape[:2], np.inf)
        margins_LT = ordered_LTE[..., -A] - ordered_LTE[..., -A - 1]
        margins_LT[[name.replace("logits", "experts") in self.theirs for name in self.routers]] = np.inf
        return margins_LT


def reference(
    model: Model, theirs: Arrays, columns: slice | NDArray[np.intp] = slice(None), makes_choice: bool = True
) -> Reference:
    """A port's arrays beside the model, whose own dtype and precision do not matter; of the logits, some columns."""
    model = replace(model, dtype="float64", kernels="numpy", activations="float32", cache="float32")
    if "logits" in theirs:
        theirs = {**theirs, "logits": theirs["logits"][:, columns]}
    small = parts(model.weights, model.config)["all"].parameters <= MOST_VALUES
    decoded = replace(model, weights=_decoded(model.weights)) if small else model
    return Reference(model, decoded, theirs, columns, makes_choice)


def _decoded(weights: Any) -> Any:
    if hasattr(weights, "_make"):
        return weights._make(map(_decoded, weights))
    return [_decoded(each) for each in weights] if isinstance(weights, list | tuple) else decode(weights, np.float64)


def handed_on(theirs: Arrays, config: Config) -> Iterator[tuple[str, NDArray]]:
    """The port's arrays that the next step can be computed from: not scores where other keys are hidden than should be."""
    for name, values in theirs.items():
        if name.endswith("attention.scores"):
            T = values.shape[1]
            seen_TT = visible(T, T, config.window(int(name.split(".")[1])))
            if not np.array_equal(np.isfinite(values), np.broadcast_to(np.c_[seen_TT, np.ones(T, bool)], values.shape)):
                continue
        if name not in ("tokens", "logits"):
            yield name, values
