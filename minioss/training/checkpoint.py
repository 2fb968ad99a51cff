"""What training has reached, in one file that is whole at every moment.

The file holds, of every weight, the float32 master and AdamW's two means, and in its metadata the
recipe and the number of steps done. It is written beside its place and moved over the old one,
which the system does at one stroke: a kill leaves either the old file or the new one.

Nothing else is needed to go on with the same bits. Whatever is random, the choice of data too,
is drawn from a generator made from the seed and the step alone, and so has no state to keep.
"""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from minioss.errors import InputError
from minioss.training.initial import initial
from minioss.training.parameters import Name, named
from minioss.training.recipe import Recipe


class State(NamedTuple):
    """What a step changes. The arrays are changed in place."""

    step: int
    masters: dict[Name, NDArray[np.float32]]
    means: dict[Name, NDArray[np.float32]]
    squares: dict[Name, NDArray[np.float32]]


def new(recipe: Recipe) -> State:
    """The state before the first step."""
    masters = named(initial(recipe.config, recipe.seed))
    means, squares = ({name: np.zeros_like(array) for name, array in masters.items()} for _ in range(2))
    return State(0, masters, means, squares)


def write(path: Path, state: State, recipe: Recipe) -> None:
    """Write a state, over one that may be there."""
    tensors = dict(_tensors(state))
    # One entry, for safetensors writes several in any order, and the same state is to be the same bytes.
    content = save(tensors, {"run": json.dumps({"step": state.step, "recipe": dataclasses.asdict(recipe)})})
    partial = path.with_name(f"{path.name}.partial")
    with open(partial, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def read(path: Path, recipe: Recipe) -> State:
    """Read a state of the same recipe.

    Raises
    ------
    InputError
        Where the file is no such checkpoint, or is one of another recipe.
    """
    state = new(recipe)
    try:
        with safe_open(path, "numpy") as file:
            run = json.loads(file.metadata()["run"])
            _check(path, run["recipe"], json.loads(json.dumps(dataclasses.asdict(recipe))))
            for key, array in _tensors(state):
                array[...] = file.get_tensor(key)
    except (SafetensorError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no checkpoint of a training run: {error}") from None
    return state._replace(step=run["step"])


def _check(path: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        if isinstance(value, dict):
            _check(path, found[name], value)
        elif found[name] != value:
            raise InputError(f"{path} was trained by another recipe: {name} is {found[name]}; expected {value}")


def _tensors(state: State) -> list[tuple[str, NDArray]]:
    """Every array of a state, by its name in the file: ``masters.query.weight.3``, ``means.norm``."""
    return [
        (".".join(str(word) for word in (kind, *name) if word is not None), array)
        for kind in ("masters", "means", "squares")
        for name, array in getattr(state, kind).items()
    ]
