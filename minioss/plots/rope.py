"""RoPE: how many tokens a pair needs for one turn, and what YaRN makes of it."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from minioss.config import RopeConfig
from minioss.plots.style import BLACK, BLUE, GREY, ORANGE, PALE, axes, number
from minioss.rope import inverse_frequencies, yarn_ramp

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def wavelengths(rope: RopeConfig, head_dim: int, ax: "Axes | None" = None) -> "Axes":
    """The tokens of one turn of each pair, on a logarithmic scale: of plain RoPE, and with YaRN's ramp.

    Grey, on the scale on the right, is how far YaRN stretches a pair.

    Parameters
    ----------
    rope : of a model's config
    head_dim : K
    ax : where to draw; None for a new figure

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        Where matplotlib is missing.
    """
    ax = axes(ax, 7, 4.2)
    pair = np.arange(head_dim // 2)
    plain = 2 * math.pi / inverse_frequencies(replace(rope, rope_type="default"), head_dim)
    ax.semilogy(pair, plain, "o--", color=ORANGE, markersize=3, label="plain RoPE")
    if rope.rope_type == "yarn":
        ax.semilogy(pair, 2 * math.pi / inverse_frequencies(rope, head_dim), "o-", color=BLUE, label="YaRN")
        _draw_ramp(ax, pair, rope, head_dim)
    number(ax.xaxis, pair)
    ax.set_xlabel("pair of a head's numbers")
    ax.set_ylabel("wavelength (tokens a turn)")
    ax.legend(frameon=False, loc="upper left")
    return ax


def _draw_ramp(ax: "Axes", pair: np.ndarray, rope: RopeConfig, head_dim: int) -> None:
    """Behind the curves, the ramp; and a line at the length of the texts before stretching."""
    beside = ax.twinx()
    beside.fill_between(pair, yarn_ramp(rope, head_dim), color=PALE, alpha=0.6, linewidth=0)
    beside.set_ylim(0, 1)
    beside.set_ylabel(f"ramp (0: as it was, 1: {rope.factor:g} times longer)", color=GREY)
    beside.tick_params(length=0, labelcolor=GREY)
    beside.spines[:].set_visible(False)
    ax.set_zorder(beside.get_zorder() + 1)
    ax.patch.set_visible(False)
    original = rope.original_max_position_embeddings
    ax.axhline(original, color=BLACK, linewidth=0.8, linestyle=":")
    ax.text(pair[-1], original, f"trained on {original} tokens", ha="right", va="bottom", color=BLACK)
