"""Sampling: what a temperature makes of the next token's probabilities."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from minioss.errors import InputError
from minioss.plots.labels import label_tokens, token_labels
from minioss.plots.style import BLACK, BLUE, ORANGE, SKY, axes
from minioss.router import softmax

if TYPE_CHECKING:
    import tiktoken
    from matplotlib.axes import Axes

CANDIDATES = 12
STYLES = ((BLUE, "o-"), (BLACK, "s--"), (ORANGE, "^:"), (SKY, "d-."))


def temperatures(
    logits_V: NDArray,
    encoding: "tiktoken.Encoding",
    temperatures: Sequence[float] = (0.5, 1.0, 2.0),
    ax: "Axes | None" = None,
) -> "Axes":
    """The probabilities of the most probable next tokens, at each temperature.

    Parameters
    ----------
    logits_V : of one position
    encoding : the model's tokenizer
    temperatures : above 0, four at most
    ax : where to draw; None for a new figure

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        Where there is no temperature, there are too many or one is not above 0, or matplotlib is missing.
    """
    if not 0 < len(temperatures) <= len(STYLES) or min(temperatures) <= 0:
        raise InputError(f"the temperatures are {list(temperatures)}; expected 1 to {len(STYLES)} above 0")
    best = np.argsort(-logits_V, kind="stable")[:CANDIDATES]
    ax = axes(ax, 7, 3.8)
    for temperature, (color, style) in zip(temperatures, STYLES, strict=False):
        probability_V = softmax(logits_V.astype(np.float64) / temperature)
        ax.plot(probability_V[best], style, color=color, label=f"temperature {temperature:g}")
    label_tokens(ax.xaxis, token_labels(best, encoding), len(best))
    ax.tick_params(axis="x", rotation=90)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("next token, the most probable first")
    ax.set_ylabel("probability")
    ax.legend(frameon=False)
    return ax
