"""Training: the loss over the tokens seen, from the file that ``minioss train`` keeps."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from minioss.errors import InputError
from minioss.plots.style import BLUE, SKY, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = ("step", "tokens", "cross_entropy", "balance", "norm", "rate")
# The mean is over this share of all steps.
SMOOTHED = 1 / 50


def read_losses(path: str | Path) -> dict[str, NDArray[np.float64]]:
    """The columns of a losses file, by step; of a step that was made twice, the second time.

    Parameters
    ----------
    path : a CSV file with the columns step, tokens, cross_entropy, balance, norm, rate

    Returns
    -------
    dict
        ``COLUMNS``, each (steps,)

    Raises
    ------
    InputError
        Where the file is missing, or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}; expected the losses that minioss train keeps")
    rows = {}
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise InputError(f"{path} has no column {', '.join(missing)}; expected {', '.join(COLUMNS)}")
        for line, row in enumerate(reader, start=2):
            try:
                rows[int(row["step"])] = [float(row[name]) for name in COLUMNS]
            except (TypeError, ValueError):
                raise InputError(f"line {line} of {path} is no row of numbers; expected {', '.join(COLUMNS)}") from None
    if not rows:
        raise InputError(f"{path} holds no step; expected at least one row")
    return dict(zip(COLUMNS, np.transpose([rows[step] for step in sorted(rows)]), strict=True))


def loss_curve(losses: Mapping[str, NDArray], ax: "Axes | None" = None) -> "Axes":
    """The cross-entropy of every step over the tokens seen so far, and its running mean.

    Parameters
    ----------
    losses : ``tokens`` (of each step) and ``cross_entropy``, as `read_losses` gives them
    ax : where to draw; None for a new figure

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        Where matplotlib is missing.
    """
    ax = axes(ax, 7, 3.8)
    seen, loss = np.cumsum(losses["tokens"]) / 1e6, losses["cross_entropy"]
    ax.plot(seen, loss, ".-" if len(loss) < 1 / SMOOTHED else "-", color=SKY, linewidth=0.8, label="each step")
    width = max(1, round(SMOOTHED * len(loss)))
    mean = np.convolve(loss, np.ones(width) / width, mode="valid")
    ax.plot(seen[width // 2 :][: len(mean)], mean, color=BLUE, linewidth=2, label=f"mean of {width} step(s)")
    ax.set_ylim(bottom=0)
    ax.set_xlabel("tokens seen (millions)")
    ax.set_ylabel("cross-entropy (nats a token)")
    ax.legend(frameon=False)
    return ax
