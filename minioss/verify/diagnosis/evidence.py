"""What a supposed mistake leaves unexplained of a port's deviation, array by array and token by token.

With y the port's array, p the reference's (each step computed from the port's own arrays before it) and p' the
same with the mistake switched on, for each token

    d = y - p         how the port departs
    e = p' - p        how the mistake would make it depart
    |d - e|²          what is then left

over the mean of |p|², one number an array, so that different arrays compare.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minioss import kernels
from minioss.errors import NotFiniteError
from minioss.linear import decode
from minioss.model import Model
from minioss.parts import parts
from minioss.verify.faults import CATALOGUE, fault
from minioss.verify.keys import keys
from minioss.verify.noise import RUNGS, Rung
from minioss.verify.tracing import Recorder, joined

Arrays = Mapping[str, NDArray]
Names = tuple[str, ...]  # mistakes, all at once

FLOAT32, *COARSE = RUNGS

MASKED = -1e4  # stands for -infinity, whichever large number the port has there
MOST_COLUMNS = 2048  # of the vocabulary: as many say all about a hidden state
MOST_VALUES = 2**27  # 1 GB in float64: smaller models are decoded once


class Evidence(NamedTuple):
    """What some mistakes leave and do, (arrays, T) each, over the array's mean square."""

    left_KT: NDArray  # |d - e|²
    effect_KT: NDArray  # |e|²
    margin_T: NDArray  # how near the router has come to another choice, up to each token


@dataclass(frozen=True)
class Port:
    """A port's arrays, and the reference that they are held against.

    Parameters
    ----------
    model : float64, as the checkpoint has it
    decoded : the same with its weights decoded
    theirs : arrays by name, tokens among them
    """

    model: Model
    decoded: Model
    theirs: Arrays

    @cached_property
    def names(self) -> list[str]:
        """The arrays that count, in the order in which they are computed."""
        return [name for name in self.theirs if name != "tokens"]

    @cached_property
    def right(self) -> Arrays:
        """What each array should be."""
        return self._run((), None)

    @cached_property
    def rounded(self) -> list[Arrays]:
        """The same as right ports have it that round to bfloat16 or int8."""
        return list(filter(None, (self.predicted((), rung) for rung in COARSE)))

    @cached_property
    def _square(self) -> dict[str, float]:
        squares = {name: np.square(self._vectors(name, self.right)) for name in self.names}
        return {name: float(np.mean(each.sum(axis=1, where=each < MASKED**2))) or 1.0 for name, each in squares.items()}

    def first(self, T: int) -> "Port":
        """The same port's logits on the first tokens alone."""
        return replace(self, theirs={name: self.theirs[name][:T] for name in ("tokens", "logits")})

    def layers(self, count: int) -> "Port":
        """The same port up to a layer: what comes later changes nothing of that."""
        first = [cut(model, count) for model in (self.model, self.decoded)]
        names = [name for name in keys(first[0].config) if name in self.theirs and name not in ("norm", "logits")]
        return Port(*first, {name: self.theirs[name] for name in names})

    def predicted(self, mistakes: Names, rung: Rung | None = None) -> Arrays | None:
        """What each array should be if these mistakes were none, in float64 or on a rung of the precision ladder.

        None where that gives NaN or infinity.
        """
        try:
            return self._run(mistakes, rung)
        except NotFiniteError:
            return None

    def _run(self, mistakes: Names, rung: Rung | None) -> Arrays:
        packed = any(CATALOGUE[name].function == "mxfp4.decode" for name in mistakes)
        model, rounded = self.model if packed else self.decoded, nullcontext
        if rung:
            model, rounded = replace(model, dtype="float32", activations=rung.activations), rung.rounding
        routers = {f"layers.{index}.router.logits" for index in range(model.config.num_hidden_layers)}
        recorder = Recorder({*self.names, *routers}, self.theirs)
        wrappers = recorder.wrappers()
        # A mistake in the choice is to show in the choice: it is not made for the reference.
        del wrappers["router.top_k"]
        with ExitStack() as stack:
            # Roundings first: a mistake then wraps the rounded function.
            for change in (rounded(), *map(fault, mistakes), kernels.wrapping({"transformer.unembed": few})):
                stack.enter_context(change)
            stack.enter_context(kernels.wrapping(wrappers))
            model(self.theirs["tokens"])
        return {name: joined(name, parts) for name, parts in recorder.parts.items()}

    def evidence(self, mistakes: Names) -> Evidence | None:
        """For or against these mistakes; None where they give NaN or infinity."""
        wrong = self.predicted(mistakes)
        if wrong is None:
            return None
        return Evidence(self.apart(self.theirs, wrong), self.apart(wrong, self.right), self.margins(wrong))

    def apart(self, arrays: Arrays, others: Arrays) -> NDArray:
        """(arrays, T): the squared distance of each token's arrays from others."""
        return np.array([self._distance(name, arrays, others) for name in self.names])

    def _distance(self, name: str, arrays: Arrays, others: Arrays) -> NDArray:
        if np.array_equal(arrays[name], others[name]):
            return np.zeros(len(self.theirs["tokens"]))
        difference_TX = self._vectors(name, arrays) - self._vectors(name, others)
        return np.einsum("tx,tx->t", difference_TX, difference_TX) / self._square[name]

    def _vectors(self, name: str, arrays: Arrays) -> NDArray[np.float64]:
        """An array as one row a token."""
        values = arrays[name]
        if name.endswith("router.experts"):
            # A choice is worth its logits: where two are all but equal, either is right.
            logits = name.replace("experts", "logits")
            values = np.take_along_axis(self.theirs.get(logits, self.right[logits]), values, axis=1)
        elif name.endswith(("attention.scores", "attention.weights")):
            values = np.maximum(values, MASKED).swapaxes(0, 1)
        return values.reshape(len(values), -1).astype(np.float64)

    def router_deviation(self, arrays: Arrays, others: Arrays) -> float:
        """The median difference of a router logit, in the layer where that is largest."""
        names = (f"layers.{index}.router.logits" for index in range(self.model.config.num_hidden_layers))
        return max(float(np.median(np.abs(arrays[name] - others[name]))) for name in names)

    def margins(self, arrays: Arrays) -> NDArray:
        """(T,): how near the router has come to another choice, up to each token, where its choice is not given."""
        config, smallest_T = self.model.config, np.full(len(self.theirs["tokens"]), np.inf)
        A = config.num_experts_per_tok
        for index in range(config.num_hidden_layers if config.num_local_experts > A else 0):
            if f"layers.{index}.router.experts" not in self.theirs:
                ordered_TE = np.sort(arrays[f"layers.{index}.router.logits"], axis=-1)
                smallest_T = np.minimum(smallest_T, ordered_TE[:, -A] - ordered_TE[:, -A - 1])
        return np.minimum.accumulate(smallest_T)


def port(model: Model, theirs: Arrays) -> Port:
    """A port's arrays beside the reference; of a large vocabulary only some columns."""
    model = replace(model, dtype="float64", kernels="numpy", activations="float32", cache="float32")
    if "logits" in theirs:
        theirs = {**theirs, "logits": theirs["logits"][:, columns(theirs["logits"].shape[1])]}
    small = parts(model.weights, model.config)["all"].parameters <= MOST_VALUES
    return Port(model, replace(model, weights=decoded(model.weights)) if small else model, theirs)


def cut(model: Model, count: int) -> Model:
    """The first layers of a model."""
    config = replace(model.config, num_hidden_layers=count, layer_types=model.config.layer_types[:count])
    return replace(model, config=config, weights=model.weights._replace(layers=model.weights.layers[:count]))


def columns(V: int) -> NDArray[np.intp]:
    """Which of the vocabulary's V columns of logits are looked at."""
    return np.linspace(0, V - 1, min(V, MOST_COLUMNS)).astype(int)


def few(right: Callable, x_TD: NDArray, weights: Any, *given: Any) -> NDArray:
    """Goes around `transformer.unembed`: those columns alone."""
    rows = columns(weights.unembedding.shape[0])
    fewer = weights._replace(embedding=weights.embedding[rows], unembedding=weights.unembedding[rows])
    return right(x_TD, fewer, *given)


def decoded(weights: Any) -> Any:
    """The same weights as float64."""
    if hasattr(weights, "_make"):
        return weights._make(map(decoded, weights))
    return [decoded(each) for each in weights] if isinstance(weights, list | tuple) else decode(weights, np.float64)
