"""Where two runs part: the error of each array, in the order in which a model computes them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from minioss.errors import InputError
from minioss.plots.style import BLACK, BLUE, ORANGE, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Smaller ones count as none.
SMALLEST = 1e-18


def deviations(found: Mapping[str, NDArray], reference: Mapping[str, NDArray], ax: "Axes | None" = None) -> "Axes":
    """The error (NMSE) of each array that both hold, in the reference's order, on a logarithmic scale.

    Hollow dots at the bottom are equal arrays. The first one that is not is named. A masked score counts as 0.

    Parameters
    ----------
    found : the trace that is looked into
    reference : the one that is right
    ax : where to draw; None for a new figure

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        Where they share no array of numbers, or shapes differ, or matplotlib is missing.
    """
    names = [name for name, array in reference.items() if name in found and array.dtype.kind == "f"]
    if not names:
        raise InputError("the two traces share no array of numbers; expected at least one name in both")
    for name in names:
        if found[name].shape != reference[name].shape:
            raise InputError(f"{name} is {found[name].shape}; expected {reference[name].shape}")
    error = [max(_nmse(_unmasked(found[name]), _unmasked(reference[name])), SMALLEST) for name in names]
    apart = [place for place, each in enumerate(error) if each > SMALLEST]
    equal = [place for place, each in enumerate(error) if each <= SMALLEST]
    ax = axes(ax, 7.5, 3.8)
    ax.set_yscale("log")
    ax.plot(equal, [SMALLEST] * len(equal), "o", color=BLUE, markerfacecolor="none", markersize=4)
    ax.plot(apart, [error[place] for place in apart], "o", color=ORANGE, markersize=4)
    if apart:
        ax.annotate(
            f"first: {names[apart[0]]}",
            (apart[0], error[apart[0]]),
            (0.02, 0.9),
            textcoords="axes fraction",
            color=BLACK,
            arrowprops={"arrowstyle": "-", "color": BLACK},
        )
    layers = [place for place, name in enumerate(names) if name.endswith(".attention_norm")]
    ax.set_xticks(layers, [names[place].split(".")[1] for place in layers])
    ax.set_ylim(SMALLEST / 10, 1e3)
    ax.set_xlabel("arrays in the order of the model; a number where a layer begins")
    ax.set_ylabel("error (NMSE)")
    return ax


def _nmse(found: NDArray, reference: NDArray) -> float:
    """Squared error over the squared size of the reference."""
    return np.sum(np.square(found - reference)) / max(np.sum(np.square(reference)), np.finfo(float).tiny)


def _unmasked(array: NDArray) -> NDArray:
    return np.where(np.isneginf(array), 0, array)
