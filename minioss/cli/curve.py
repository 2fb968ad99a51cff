"""A curve in one line of text."""

from collections.abc import Sequence

import numpy as np

WIDTH = 60
HEIGHTS = "▁▂▃▄▅▆▇█"


def curve(values: Sequence[float]) -> str:
    """Values from left to right, means of as many each where there are more than fit; the last is told in digits.

    Examples
    --------
    >>> curve([4.0, 3.0, 2.0, 1.0, 1.0])
    '4.00 █▆▃▁▁ 1.00'
    """
    means = [float(np.mean(part)) for part in np.array_split(values, min(len(values), WIDTH))]
    low, high = min(means), max(means)
    levels = [round((mean - low) / ((high - low) or 1) * (len(HEIGHTS) - 1)) for mean in means]
    return f"{means[0]:.2f} {''.join(HEIGHTS[level] for level in levels)} {means[-1]:.2f}"
