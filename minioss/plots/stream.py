"""The residual stream: how large its vectors are after each layer."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from minioss.errors import InputError
from minioss.plots.layers import of_layers
from minioss.plots.style import BLUE, axes, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def stream_sizes(trace: Mapping[str, NDArray], ax: "Axes | None" = None) -> "Axes":
    """The root mean square of each token's vector, of the embedding and after each layer, on a logarithmic scale.

    A dot is the median over the tokens; a line reaches from the smallest to the largest.

    Parameters
    ----------
    trace : with ``embedding`` and ``layers.N.output``, (T, D)
    ax : where to draw; None for a new figure

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        Where the trace has no such array, or matplotlib is missing.
    """
    if "embedding" not in trace:
        raise InputError("the trace has no embedding; expected it among what was wanted of minioss.trace")
    outputs = of_layers(trace, "output")
    sizes = [np.sqrt(np.mean(np.square(x_TD), axis=1)) for x_TD in (trace["embedding"], *outputs.values())]
    ax = axes(ax, 6.5, 3.6)
    ax.vlines(range(len(sizes)), list(map(np.min, sizes)), list(map(np.max, sizes)), color=BLUE, linewidth=2)
    ax.semilogy(range(len(sizes)), list(map(np.median, sizes)), "o", color=BLUE, markersize=7)
    number(ax.xaxis, ["embedding", *outputs])
    ax.set_xlim(-0.5, len(sizes) - 0.5)
    ax.set_xlabel("after layer")
    ax.set_ylabel("root mean square of a token's vector")
    return ax
