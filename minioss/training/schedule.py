"""The learning rate: up in a line, then down to zero in a line.

    rate(n) = peak · n / warmup                          n ≤ warmup
              peak · (steps - n) / (steps - warmup)      after

At the beginning AdamW's mean of squares rests on few steps, hence the way up. Zero at the end
lets the noise of single batches average out of the weights.

Source: Bergsma et al., "Straight to Zero" (2025), who compare this with a cosine.
"""


def rate(step: int, steps: int, warmup: int, peak: float) -> float:
    """The rate of a step n, from 1.

    Examples
    --------
    >>> [rate(step, steps=10, warmup=2, peak=1.0) for step in (1, 2, 6, 10)]
    [0.5, 1.0, 0.5, 0.0]
    """
    return peak * (step / warmup if step <= warmup else (steps - step) / (steps - warmup))
