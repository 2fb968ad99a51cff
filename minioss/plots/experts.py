"""Experts: how the router shares the tokens out."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from minioss.errors import InputError
from minioss.plots.conversation import KINDS
from minioss.plots.layers import of_layer, of_layers
from minioss.plots.style import BLACK, BLUE, axes, heat, matrix_size, number
from minioss.router import softmax

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def expert_load(trace: Mapping[str, NDArray], ax: "Axes | None" = None) -> "Axes":
    """The share of the tokens that each expert sees, layer by layer. Rows sum to A, the experts of a token.

    Parameters
    ----------
    trace : with ``layers.N.router.experts``, (T, A), and ``layers.N.router.logits``, (T, E)
    ax : where to draw; None for a new figure

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        Where the trace has no such arrays, or matplotlib is missing.
    """
    layers = list(of_layers(trace, "router.experts"))
    load_LE = np.stack([_is_chosen(trace, layer).mean(axis=0) for layer in layers])
    ax = axes(ax, *matrix_size(load_LE.shape))
    heat(ax, load_LE, f"share of tokens (evenly: {load_LE[0].mean():.0%})", percent=True)
    number(ax.yaxis, layers)
    _number_experts(ax, load_LE.shape[1])
    ax.set_ylabel("layer")
    return ax


def co_activation(trace: Mapping[str, NDArray], layer: int, ax: "Axes | None" = None) -> "Axes":
    """Which experts work together: of the tokens of one expert (a row), the share that each other sees as well.

    Rows sum to A - 1. The row of an expert that sees no token is empty.

    Parameters
    ----------
    trace : with ``layers.N.router.experts``, (T, A), and ``layers.N.router.logits``, (T, E), of that layer
    layer : which
    ax : where to draw; None for a new figure

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        Where the trace has no such arrays, or matplotlib is missing.
    """
    is_chosen_TE = _is_chosen(trace, layer).astype(np.float64)
    both_EE = is_chosen_TE.T @ is_chosen_TE
    share_EE = both_EE / np.maximum(both_EE.diagonal(), 1)[:, None]
    np.fill_diagonal(share_EE, np.nan)
    E = len(share_EE)
    side = min(max(0.3 * E, 2.5), 7)
    ax = axes(ax, side + 1.8, side + 0.8)
    heat(ax, share_EE, "share of the row's tokens", percent=True)
    number(ax.yaxis, range(E))
    _number_experts(ax, E)
    ax.set_xlabel("other expert")
    ax.set_ylabel("expert")
    ax.set_title(f"layer {layer}", loc="left")
    return ax


def router_entropy(trace: Mapping[str, NDArray], ax: "Axes | None" = None) -> "Axes":
    """How undecided the router is: the entropy of the softmax of all its logits, in bits.

    A dot is the median over the tokens; a line reaches from the tenth to the ninetieth of a hundred.

    Parameters
    ----------
    trace : with ``layers.N.router.logits``, (T, E)
    ax : where to draw; None for a new figure

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        Where the trace has no such array, or matplotlib is missing.
    """
    logits = of_layers(trace, "router.logits")
    low, median, high = np.transpose([np.quantile(entropy(each), (0.1, 0.5, 0.9)) for each in logits.values()])
    most = np.log2(next(iter(logits.values())).shape[1])
    ax = axes(ax, 6.5, 3.8)
    ax.vlines(range(len(logits)), low, high, color=BLUE, linewidth=2)
    ax.plot(range(len(logits)), median, "o", color=BLUE, markersize=7)
    ax.axhline(most, color=BLACK, linewidth=0.8, linestyle="--")
    ax.annotate(f"all experts alike ({most:.2f} bits)", (0, most), (0, 3), textcoords="offset points", va="bottom")
    ax.set_ylim(0, 1.15 * most or 1)
    number(ax.xaxis, list(logits))
    ax.set_xlim(-0.5, len(logits) - 0.5)
    ax.set_xlabel("layer")
    ax.set_ylabel("entropy of the router (bits)")
    return ax


def entropy(logits_TE: NDArray) -> NDArray:
    """The entropy of the softmax of each row, in bits: (T,)."""
    share_TE = softmax(logits_TE)
    return -(share_TE * np.log2(np.where(share_TE > 0, share_TE, 1))).sum(axis=-1)


def load_by_channel(trace: Mapping[str, NDArray], layer: int, kinds: Sequence[str], ax: "Axes | None" = None) -> "Axes":
    """Of the tokens of each harmony channel, the share that each expert sees. Rows sum to A.

    Parameters
    ----------
    trace : with ``layers.N.router.experts``, (T, A), and ``layers.N.router.logits``, (T, E), of that layer
    layer : which
    kinds : of each token, as `token_kinds` gives them
    ax : where to draw; None for a new figure

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        Where the trace has no such arrays or another number of tokens, or matplotlib is missing.
    """
    is_chosen_TE = _is_chosen(trace, layer)
    if len(kinds) != len(is_chosen_TE):
        raise InputError(f"there are {len(kinds)} kinds for {len(is_chosen_TE)} tokens; expected as many")
    present = [kind for kind in KINDS if kind in kinds]
    rows = [np.array(kinds) == kind for kind in present]
    load_NE = np.stack([is_chosen_TE[row].mean(axis=0) for row in rows])
    ax = axes(ax, *matrix_size(load_NE.shape))
    heat(ax, load_NE, "share of the row's tokens", percent=True)
    ax.set_yticks(range(len(rows)), [f"{kind} ({row.sum()})" for kind, row in zip(present, rows, strict=True)])
    _number_experts(ax, load_NE.shape[1])
    ax.set_title(f"layer {layer}; in brackets, how many tokens", loc="left")
    return ax


def _is_chosen(trace: Mapping[str, NDArray], layer: int) -> NDArray[np.bool_]:
    """Whether each expert is among those of each token: (T, E)."""
    expert_TA = of_layer(trace, layer, "router.experts")
    is_chosen_TE = np.zeros(of_layer(trace, layer, "router.logits").shape, bool)
    np.put_along_axis(is_chosen_TE, expert_TA, True, axis=1)
    return is_chosen_TE


def _number_experts(ax: "Axes", count: int) -> None:
    number(ax.xaxis, range(count))
    ax.set_xlabel("expert")
