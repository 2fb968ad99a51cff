"""A picture of the logit lens: what the model would say after each layer, beside the experts chosen in it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from minioss.errors import InputError
from minioss.lens import as_if_last
from minioss.model import Model
from minioss.plots.labels import token_labels
from minioss.plots.layers import of_layers
from minioss.plots.style import BLACK, axes, heat

if TYPE_CHECKING:
    import tiktoken
    from matplotlib.axes import Axes

CANDIDATES = 4
# What fits into a cell.
LONGEST = 9


def lens(trace: Mapping[str, NDArray], model: Model, position: int = -1) -> NDArray:
    """The probabilities of the next token, of the embedding and after each layer.

    Parameters
    ----------
    trace : with ``embedding`` and ``layers.N.output``, (T, D), of all layers
    model : that was traced
    position : of the token that is looked into; -1 for the last

    Returns
    -------
    (L + 1, V)

    Raises
    ------
    InputError
        Where the trace lacks an array, or has no such token.
    """
    if "embedding" not in trace:
        raise InputError("the trace has no embedding; expected it among what was wanted of minioss.trace")
    outputs_LTD = _of_every_layer(trace, "output", model)
    T = len(trace["embedding"])
    if not -T <= position < T:
        raise InputError(f"position is {position}; expected {-T} to {T - 1}")
    x_LD = np.concatenate([trace["embedding"][None], outputs_LTD])[:, position]
    return as_if_last(x_LD, model)


def logit_lens(
    trace: Mapping[str, NDArray],
    model: Model,
    encoding: "tiktoken.Encoding",
    position: int = -1,
    ax: "Axes | None" = None,
) -> "Axes":
    """The most probable next tokens after each layer, and beside them the experts chosen in it.

    The darker a cell, the more probable the token, or the more the expert counts.

    Parameters
    ----------
    trace : as for `lens`, and with ``layers.N.router.experts`` and ``layers.N.router.weights``, (T, A)
    model : that was traced
    encoding : its tokenizer
    position : of the token that is looked into; -1 for the last
    ax : where to draw; None for a new figure

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        Where the trace lacks an array or has no such token, or matplotlib is missing.
    """
    probability_LV = lens(trace, model, position)
    best_LN = np.argsort(-probability_LV, axis=1, kind="stable")[:, :CANDIDATES]
    expert_LA = _of_every_layer(trace, "router.experts", model)[:, position]
    weight_LA = _of_every_layer(trace, "router.weights", model)[:, position]
    # The embedding has no experts; and between both tables a column is empty.
    shares = np.full((len(best_LN), best_LN.shape[1] + 1 + expert_LA.shape[1]), np.nan)
    shares[:, : best_LN.shape[1]] = np.take_along_axis(probability_LV, best_LN, axis=1)
    shares[1:, best_LN.shape[1] + 1 :] = weight_LA
    experts = [[""] * expert_LA.shape[1], *expert_LA.tolist()]
    texts = [[*token_labels(row, encoding, LONGEST), "", *chosen] for row, chosen in zip(best_LN, experts, strict=True)]
    ax = axes(ax, 1.6 + 0.85 * shares.shape[1], 1.4 + 0.32 * len(shares))
    heat(ax, shares, "probability, weight", top=1, percent=True)
    _write(ax, texts, shares)
    _head(ax, best_LN.shape[1], expert_LA.shape[1])
    ax.set_yticks(range(len(shares)), ["embedding", *map(str, range(len(expert_LA)))])
    ax.set_ylabel("after layer")
    at = range(len(trace["tokens"]))[position]
    ax.set_title(f"what follows token {at}, “{token_labels([trace['tokens'][at]], encoding)[0]}”", loc="left")
    return ax


def _of_every_layer(trace: Mapping[str, NDArray], name: str, model: Model) -> NDArray:
    """One array of each layer, (L, T, …), or an `InputError` where layers are missing."""
    found, count = of_layers(trace, name), model.config.num_hidden_layers
    if list(found) != list(range(count)):
        raise InputError(f"the trace has layers.N.{name} of the layers {list(found)}; expected 0 to {count - 1}")
    return np.stack(list(found.values()))


def _write(ax: "Axes", texts: Sequence[Sequence[str | int]], shares: NDArray) -> None:
    """A text in each cell, white where the cell is dark."""
    for (row, column), share in np.ndenumerate(shares):
        color = "white" if share > 0.65 else BLACK
        ax.text(column, row, texts[row][column], ha="center", va="center", color=color)


def _head(ax: "Axes", candidates: int, active: int) -> None:
    """Above the columns, what they are."""
    places = [(candidates - 1) / 2, candidates + (active + 1) / 2]
    ax.set_xticks(places, ["next token, the most probable first", "experts, best first"])
    ax.tick_params(length=0, top=False, bottom=False, labeltop=True, labelbottom=False)
