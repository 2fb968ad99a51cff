"""RMSNorm, backward.

    u = x / sqrt(mean(x²) + ε)        y = u · g

    dg = Σ_t dy · u
    du = dy · g
    dx = (du - u · mean(du · u)) / sqrt(mean(x²) + ε)

Source: the derivative of `minioss.rmsnorm`; Zhang and Sennrich (2019), appendix.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Saved(NamedTuple):
    """What the backward pass needs: u, and one over the root."""

    unit_TD: NDArray
    inverse_T1: NDArray
    gain_D: NDArray


def forward(x_TD: NDArray, gain_D: NDArray, eps: float) -> tuple[NDArray, Saved]:
    """As `minioss.rmsnorm.rms_norm`."""
    mean_square_T1 = np.vecdot(x_TD, x_TD)[:, None] / x_TD.shape[-1]
    inverse_T1 = 1 / np.sqrt(mean_square_T1 + eps)
    unit_TD = x_TD * inverse_T1
    return unit_TD * gain_D, Saved(unit_TD, inverse_T1, gain_D)


def backward(dy_TD: NDArray, saved: Saved) -> tuple[NDArray, NDArray]:
    """dx (T, D) and dg (D,)."""
    unit_TD, inverse_T1, gain_D = saved
    dgain_D = np.einsum("TD,TD->D", dy_TD, unit_TD)
    dx_TD = dy_TD * gain_D
    dx_TD -= unit_TD * (np.vecdot(dx_TD, unit_TD)[:, None] / dx_TD.shape[-1])
    dx_TD *= inverse_T1
    return dx_TD, dgain_D
