"""The cache: what it keeps of a text."""

from typing import TYPE_CHECKING

import numpy as np

from minioss.config import Config
from minioss.errors import InputError
from minioss.plots.style import BLUE, ORANGE, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def cache_size(config: Config, T: int, ax: "Axes | None" = None) -> "Axes":
    """The numbers that the cache holds after each token of a text; and how many it would hold without windows.

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
    ax = axes(ax, 7, 3.6)
    from matplotlib.ticker import EngFormatter

    tokens = np.arange(T + 1)
    of_a_token = 2 * config.num_key_value_heads * config.head_dim
    windows = [config.window(layer) or T for layer in range(config.num_hidden_layers)]
    ax.plot(tokens, of_a_token * len(windows) * tokens, "--", color=ORANGE, label="if every layer kept all tokens")
    kept = sum(np.minimum(tokens, window) for window in windows)
    ax.plot(tokens, of_a_token * kept, color=BLUE, linewidth=2, label="kept")
    ax.set_xlim(0, T)
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_formatter(EngFormatter(sep=""))
    ax.set_xlabel("tokens of the text")
    ax.set_ylabel("numbers in the cache")
    ax.legend(frameon=False, loc="upper left")
    return ax
