"""Attention: who looks at whom, how much goes to the sinks, and how far each layer sees."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from minioss.config import Config
from minioss.errors import InputError
from minioss.plots.labels import label_tokens
from minioss.plots.layers import of_layer, of_layers
from minioss.plots.style import BLUE, NOTHING, SKY, axes, heat, matrix_size, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def attention_map(
    trace: Mapping[str, NDArray],
    layer: int,
    head: int,
    labels: Sequence[str] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """What a head gives each key: one row a query, the sink in the first column. Rows sum to 1.

    White is out of sight: what comes after the query, and on sliding layers what lies before the window.

    Parameters
    ----------
    trace : with ``layers.N.attention.weights`` of that layer, (n, T, S)
    layer, head : which; a query head, below n
    labels : of the tokens, as `token_labels` gives them; None for numbers
    ax : where to draw; None for a new figure

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        Where the trace lacks the layer or the head, or matplotlib is missing.
    """
    weights_nTS = of_layer(trace, layer, "attention.weights")
    if not 0 <= head < len(weights_nTS):
        raise InputError(f"head is {head}; expected 0 to {len(weights_nTS) - 1}")
    weights_TS = weights_nTS[head]
    T = len(weights_TS)
    side = min(max(0.22 * T, 2.5), 6.5)
    ax = axes(ax, side + 2, side + 1)
    # Beside many keys, the sink is still to be seen.
    sink = -0.5 - max(1, T / 20)
    x_edges = np.array([sink, *np.arange(T + 1) - 0.5])
    sink_T = np.maximum(1 - weights_TS.sum(axis=1), NOTHING)  # in sight, however little it gets
    heat(ax, np.c_[sink_T, weights_TS], "attention weight", x_edges=x_edges)
    ax.axvline(-0.5, color="white", linewidth=3)
    ax.set_xticks([(sink - 0.5) / 2], ["sink"], minor=True)
    label_tokens(ax.xaxis, labels, T)
    label_tokens(ax.yaxis, labels, T)
    ax.tick_params(axis="x", which="both", rotation=90)
    ax.set_xlabel("key: the token looked at")
    ax.set_ylabel("query: the token that looks")
    ax.set_title(f"layer {layer}, head {head}", loc="left")
    return ax


def sink_mass(trace: Mapping[str, NDArray], ax: "Axes | None" = None) -> "Axes":
    """The share of its attention that each head gives to its sink, that is to no token: the mean over the queries.

    Parameters
    ----------
    trace : with ``layers.N.attention.weights``, (n, T, S), of the layers to draw
    ax : where to draw; None for a new figure

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        Where the trace has no such array, or matplotlib is missing.
    """
    weights = of_layers(trace, "attention.weights")
    mass_Ln = np.stack([1 - weights_nTS.sum(axis=-1).mean(axis=-1) for weights_nTS in weights.values()])
    ax = axes(ax, *matrix_size(mass_Ln.shape))
    heat(ax, mass_Ln, "share of attention on the sink", percent=True)
    number(ax.yaxis, list(weights))
    number(ax.xaxis, range(mass_Ln.shape[1]))
    ax.set_xlabel("query head")
    ax.set_ylabel("layer")
    return ax


def windows(config: Config, T: int, ax: "Axes | None" = None) -> "Axes":
    """What the last of T tokens sees in each layer: a window of those before it, or all.

    Parameters
    ----------
    config : of a model
    T : how long the text is, in tokens
    ax : where to draw; None for a new figure

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        Where T is below 1, or matplotlib is missing.
    """
    if T < 1:
        raise InputError(f"T is {T}; expected at least one token")
    layers = range(config.num_hidden_layers)
    ax = axes(ax, 7, 1.6 + 0.22 * len(layers))
    for is_sliding, color in ((False, SKY), (True, BLUE)):
        chosen = [layer for layer in layers if (config.window(layer) is not None) == is_sliding]
        seen = [min(config.window(layer) or T, T) for layer in chosen]
        name = f"sliding: the last {config.sliding_window}" if is_sliding else "full: all"
        ax.barh(chosen, seen, left=[T - each for each in seen], height=0.7, color=color, label=name)
    number(ax.xaxis, range(T + 1), most=10)
    ax.set_xlim(0, T)
    ax.set_ylim(len(layers) - 0.5, -0.5)
    number(ax.yaxis, layers)
    ax.set_xlabel(f"position of the tokens that token {T - 1} sees")
    ax.set_ylabel("layer")
    ax.legend(frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
    return ax
