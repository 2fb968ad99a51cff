"""What a supposed mistake leaves unexplained of a port's deviation, array by array and token by token.

With y the port's array, p the reference's (each step computed from the port's own arrays before it) and p' the
same with the mistake switched on, for each token

    d = y - p         how the port departs
    e = p' - p        how the mistake would make it depart
    |d - e|²          what is then left

over the mean of |p|², one number an array, so that different arrays compare.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minioss.model import Model
from minioss.verify.keys import keys
from minioss.verify.reference import Arrays, Names, Reference, reference

MOST_COLUMNS = 2048  # of the vocabulary: as many say all about a hidden state


class Evidence(NamedTuple):
    """What some mistakes leave and do, (arrays, T) each, over the array's mean square."""

    left_KT: NDArray  # |d - e|²
    effect_KT: NDArray  # |e|²
    margin_T: NDArray  # how near the router has come to another choice, up to each token


def port(model: Model, theirs: Arrays) -> Reference:
    """A port's arrays beside the reference; of a large vocabulary only some columns.

    The choice of experts is not made for the reference: a mistake in the choice is to show in the choice.
    """
    V = model.config.vocab_size
    columns = np.linspace(0, V - 1, min(V, MOST_COLUMNS)).astype(int)
    return reference(model, theirs, columns, makes_choice=False)


def gathered(port: Reference, mistakes: Names) -> Evidence | None:
    """For or against these mistakes; None where they give NaN or infinity."""
    wrong = port.predicted(mistakes)
    return wrong and Evidence(apart(port, port.theirs, wrong), apart(port, wrong, port.exact), margins(port, wrong))


def apart(port: Reference, arrays: Arrays, others: Arrays) -> NDArray:
    """(arrays, T): the squared distance of each token's arrays from others."""
    return np.array(list(port.errors(arrays, others).values()))


def margins(port: Reference, arrays: Arrays) -> NDArray:
    """(T,): how near the router has come to another choice, up to each token."""
    return np.minimum.accumulate(port.margins(arrays).min(axis=0))


def first_tokens(port: Reference, T: int) -> Reference:
    """The same port's logits on the first tokens alone."""
    return replace(port, theirs={name: port.theirs[name][:T] for name in ("tokens", "logits")})


def first_layers(port: Reference, count: int) -> Reference:
    """The same port up to a layer: what comes later changes nothing of that."""
    model, decoded = (cut(each, count) for each in (port.model, port.decoded))
    names = [name for name in keys(model.config) if name in port.theirs and name not in ("norm", "logits")]
    return replace(port, model=model, decoded=decoded, theirs={name: port.theirs[name] for name in names})


def cut(model: Model, count: int) -> Model:
    """The first layers of a model."""
    config = replace(model.config, num_hidden_layers=count, layer_types=model.config.layer_types[:count])
    return replace(model, config=config, weights=model.weights._replace(layers=model.weights.layers[:count]))
