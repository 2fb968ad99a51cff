"""RMSNorm: every token's vector is brought to unit root mean square, then scaled.

    y = x / sqrt(mean(x²) + ε) · g

There is no mean to subtract and no bias to add. The gain g multiplies as it is stored: there is no hidden "+ 1". Each
layer has two of these, before attention and before the experts, and the model has one more before the unembedding.

In all blocks a name ends in its axes: ``x_TD`` has a row of D numbers for each of T tokens. The key to the letters
is in docs/architecture.md. ``@kernels.twin`` marks what compiled code may stand in for; a reader can pass over it.

Source: Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019), eq. 4;
gpt_oss/torch/model.py, ``RMSNorm.forward``.
"""

import numpy as np
from numpy.typing import NDArray

from minioss import kernels


@kernels.twin
def rms_norm(x_TD: NDArray, gain_D: NDArray, eps: float) -> NDArray:
    """Normalise each row.

    Parameters
    ----------
    x_TD : float32 or float64, (T, D)
    gain_D : g, of the same type, (D,)
    eps : ε, which keeps a row of zeros from a division by zero (``rms_norm_eps``, 1e-5 in the released models)

    Returns
    -------
    (T, D), of the type of ``x_TD``

    Examples
    --------
    >>> rms_norm(np.array([[3.0, 4.0]]), np.ones(2), eps=0.0).round(3)
    array([[0.849, 1.131]])
    """
    mean_square_T1 = np.mean(np.square(x_TD), axis=-1, keepdims=True)
    return x_TD / np.sqrt(mean_square_T1 + eps) * gain_D
