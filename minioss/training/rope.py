"""RoPE, forward and backward, with the two numbers of a pair side by side.

As in `minioss.rope`, pair i is (i, i + K/2). Here the rows of the query and key maps are taken in
the order 0, K/2, 1, K/2 + 1, …, so that a pair comes out as neighbours, which is one complex number:

    y = x · c exp(i p ω)          c: YaRN's concentration
    dx = dy · c exp(-i p ω)

the transpose of a rotation times c is the rotation back, times c. Scores are sums over a whole head
and do not see the order. One product of complex numbers takes a seventh of the time of the halves.

Source: Su et al., "RoFormer" (2021), section 3.2.1, for the complex form.
"""

import numpy as np
from numpy.typing import NDArray

from minioss.linear import Linear
from minioss.rope import Rotation


def turns(rotation: Rotation) -> NDArray[np.complexfloating]:
    """c exp(i p ω) of every token: (T, 1, K/2), to meet every head."""
    return np.stack(rotation, axis=-1).view(np.result_type(rotation.cos_Tk, np.complex64))[:, None, :, 0]


def turn(x_THK: NDArray, turn_T1k: NDArray) -> None:
    """Turn every head in place, its pairs side by side. The backward pass turns dy by the conjugate."""
    pairs_THk = x_THK.view(turn_T1k.dtype)
    pairs_THk *= turn_T1k


def side_by_side(weights: Linear, K: int) -> Linear:
    """The rows of each head in the order 0, K/2, 1, K/2 + 1, …; copies."""
    return Linear(
        *(rows.reshape(-1, 2, K // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape) for rows in weights)
    )


def halves(weights: Linear, K: int) -> Linear:
    """The inverse of `side_by_side`."""
    return Linear(
        *(rows.reshape(-1, K // 2, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape) for rows in weights)
    )
