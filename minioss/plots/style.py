"""What all pictures have in common: a new figure, colours, matrices as shades, numbered places.

Shades grow darker with the value and so are read in grey as well; white is nothing at all. Colours
are those of Okabe and Ito, which people who see few colours can tell apart; what they tell is
told a second time, by a place, a dash or a word.
"""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minioss.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.colors import Colormap

BLUE, ORANGE, GREEN, SKY, PURPLE, YELLOW = "#0072B2", "#D55E00", "#009E73", "#56B4E9", "#CC79A7", "#E69F00"
BLACK, GREY, PALE = "#222222", "#777777", "#DDDDDD"
NOTHING = np.finfo(np.float32).tiny
MOST_CELLS = 1200


def axes(ax: "Axes | None", width: float, height: float) -> "Axes":
    """The given Axes, or those of a new figure of so many inches, without a frame at the top and on the right.

    Raises
    ------
    InputError
        Where matplotlib is missing.
    """
    if ax is None:
        _, ax = pyplot().subplots(figsize=(width, height), layout="constrained")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def pyplot() -> Any:
    """``matplotlib.pyplot``, or an `InputError` that says how to get it."""
    try:
        from matplotlib import pyplot
    except ImportError:
        raise InputError('pictures need the package matplotlib: pip install "minioss[notebook]"') from None
    return pyplot


def shades() -> "Colormap":
    """From pale to dark blue; white below `NOTHING`, and where there is no number."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps["Blues"](np.linspace(0.12, 1, 256))).with_extremes(under="white", bad="white")


def heat(
    ax: "Axes",
    values: NDArray,
    label: str,
    top: float | None = None,
    percent: bool = False,
    x_edges: NDArray | None = None,
) -> None:
    """Draw a matrix as shades, with their scale beside it. Row and column i are at i, as in an image.

    Parameters
    ----------
    ax : where to
    values : 0 or more, or NaN, (rows, columns); the first row is at the top
    label : what they are, with the unit
    top : the value of the darkest shade; None for the largest
    percent : whether the scale tells shares as percentages
    x_edges : where the columns begin and end; None for those of an image
    """
    from matplotlib.ticker import PercentFormatter

    rows, columns = values.shape
    x_edges = np.arange(columns + 1) - 0.5 if x_edges is None else x_edges
    y_edges = np.arange(rows + 1) - 0.5
    top = top or np.nanmax(values, initial=0) or 1
    # As a drawing of cells while they are few; many would make a large file, and become an image.
    style = {"rasterized": True} if values.size > MOST_CELLS else {"edgecolors": "white", "linewidth": 0.5}
    mesh = ax.pcolormesh(x_edges, y_edges, values, cmap=shades(), vmin=NOTHING, vmax=top, **style)
    ax.invert_yaxis()
    bar = ax.figure.colorbar(mesh, ax=ax, label=label, format=PercentFormatter(1) if percent else None)
    bar.outline.set_visible(False)
    bar.solids.set_edgecolor("face")
    ax.spines[:].set_visible(False)


def matrix_size(shape: tuple[int, int]) -> tuple[float, float]:
    """Inches of a figure for a matrix of so many rows and columns, labels and scale included."""
    rows, columns = shape
    return min(max(3.5 + 0.3 * columns, 5), 9), min(max(1.8 + 0.3 * rows, 3), 8)


def number(axis: "Axis", numbers: Sequence[int], most: int = 16) -> None:
    """Mark the places 0, 1, 2, … with numbers: all of them, or every second, fifth, … so that they are not too many."""
    steps = (digit * 10**power for power in itertools.count() for digit in (1, 2, 5))
    places = range(0, len(numbers), next(step for step in steps if len(numbers) <= most * step))
    axis.set_ticks(places, [str(numbers[place]) for place in places])
