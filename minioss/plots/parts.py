"""Bytes: what a token reads."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from minioss.parts import PARTS, Part
from minioss.plots.style import BLACK, BLUE, GREY, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def bytes_per_token(parts: Mapping[str, Part], ax: "Axes | None" = None) -> "Axes":
    """The bytes of weights that one decoded token reads, as a waterfall: part by part, and all together.

    Parameters
    ----------
    parts : as `minioss.parts.parts` gives them
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
    from matplotlib.ticker import EngFormatter

    start = 0
    for place, name in enumerate((*PARTS, "all")):
        count = parts[name].nbytes_read
        left = 0 if name == "all" else start
        ax.barh(place, count, left=left, color=GREY if name == "all" else BLUE, height=0.7)
        ax.annotate(
            EngFormatter("B", places=2 if count >= 1000 else 0)(count),
            (left + count, place),
            (4, 0),
            textcoords="offset points",
            va="center",
            color=BLACK,
        )
        if name != "all":
            start += count
            ax.plot([start, start], [place - 0.35, place + 1.35], color=GREY, linewidth=0.8)
    ax.set_yticks(range(len(PARTS) + 1), [*PARTS, "all"])
    ax.invert_yaxis()
    ax.set_xlim(0, 1.2 * parts["all"].nbytes_read)
    ax.xaxis.set_major_formatter(EngFormatter("B"))
    ax.set_xlabel("weights read for one token")
    return ax
