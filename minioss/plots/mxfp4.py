"""MXFP4: the numbers that four bits can say, and how far others are from them."""

from typing import TYPE_CHECKING

import numpy as np

from minioss.mxfp4 import CODES, POSITIVE_CODES
from minioss.plots.style import BLACK, BLUE, GREY, ORANGE, PALE, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LARGEST = POSITIVE_CODES[-1]
# How far beyond the largest code a number of a block may lie: the specification's scale leaves it below 8.
END = 8.0


def number_line(ax: "Axes | None" = None) -> "Axes":
    """The 16 codes on a line, each with its bits, amid the numbers that are rounded to it.

    Parameters
    ----------
    ax : where to draw; None for a new figure

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        Where matplotlib is missing.
    """
    ax = axes(ax, 8, 2.8)
    codes = np.unique(CODES + 0.0)  # 0 for -0
    edges = [-END, *(codes[1:] + codes[:-1]) / 2, END]
    for place, (left, right) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        ax.axvspan(left, right, color=PALE if place % 2 else "#F6F6F6", linewidth=0)
    ax.plot(codes, np.zeros(len(codes)), "o", color=BLUE, markersize=7)
    for code in codes:
        bits = ", ".join(f"{nibble:04b}" for nibble in np.flatnonzero(code == CODES))
        ax.text(code, 0.12, f"{bits} = {code:g}".replace("-", "−"), rotation=90, ha="center", va="bottom", color=BLACK)
    ax.set_ylim(-0.15, 1)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_xlim(-END + 1, END - 1)
    ax.set_xticks(range(-6, 7))
    ax.set_xlabel("value (scales of its block); a band holds what is rounded to its dot")
    return ax


def rounding_error(ax: "Axes | None" = None) -> "Axes":
    """How far a number is from the nearest code, over the number, both in units of the block's scale.

    Parameters
    ----------
    ax : where to draw; None for a new figure

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        Where matplotlib is missing.
    """
    ax = axes(ax, 7, 3.6)
    codes = np.array(POSITIVE_CODES)
    values = np.union1d(np.append(codes, END), (codes[1:] + codes[:-1]) / 2)
    errors = np.abs(values[:, None] - codes).min(axis=1)
    ax.fill_between(values, errors, color=BLUE, alpha=0.15, linewidth=0)
    ax.plot(values, errors, color=BLUE, label="rounding error")
    ax.plot(values, values / 5, "--", color=ORANGE, label="a fifth of the number")
    ax.axvline(LARGEST, color=GREY, linewidth=0.8, linestyle=":")
    ax.text(LARGEST + 0.1, 2, "cut to 6", color=BLACK, va="top")
    ax.set_xticks([*codes, END], ["0", "½", "1", "1½", "2", "3", "4", "6", "8"])
    ax.set_xlim(0, END)
    ax.set_ylim(0, END - LARGEST)
    ax.set_xlabel("size of the number (scales of its block)")
    ax.set_ylabel("distance to the nearest code (scales)")
    ax.legend(frameon=False, loc="upper left")
    return ax
