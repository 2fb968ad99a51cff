"""A linear map, y = x Wᵀ + b, for every format that a weight may have.

A weight is a plain NumPy array, a `BFloat16Array`, an `MXFP4Array` or an `MXINT8Array`, of
shape (N, D): one row an output. It is decoded by row chunks, each used and dropped at once, so that
memory stays bounded however large the matrix is.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minioss import kernels
from minioss.bfloat16 import BFloat16Array
from minioss.mxfp4 import MXFP4Array
from minioss.mxint8 import MXINT8Array

Weight: TypeAlias = NDArray | BFloat16Array | MXFP4Array | MXINT8Array

# A decoded chunk of 2 MB in float32: large enough to keep BLAS busy, small enough for the cache.
VALUES_PER_CHUNK = 2**19


class Linear(NamedTuple):
    """The weights of a linear map: ``weight`` (N, D) and ``bias`` (N,)."""

    weight: Weight
    bias: Weight


def decode(weight: Weight, dtype: DTypeLike) -> NDArray[np.floating]:
    """The numbers of a weight of any format, as ``dtype`` (float32 or float64)."""
    return weight.astype(dtype, copy=False) if isinstance(weight, np.ndarray) else weight.decode(dtype)


@kernels.twin
def matmul(x_TD: NDArray, weight_ND: Weight) -> NDArray:
    """x Wᵀ, in the type of ``x``.

    Parameters
    ----------
    x_TD : float32 or float64, (T, D)
    weight_ND : (N, D), any format

    Returns
    -------
    (T, N), of the type of ``x_TD``
    """
    return product(x_TD, weight_ND)


def product(x_TD: NDArray, weight_ND: Weight) -> NDArray:
    """As `matmul`, always in NumPy."""
    T, (N, D) = len(x_TD), weight_ND.shape
    y_TN = np.empty((T, N), x_TD.dtype)
    step = max(1, VALUES_PER_CHUNK // D)
    for first in range(0, N, step):
        rows = slice(first, first + step)
        # In one order of memory, whichever way round the file has it: the same bits come out.
        chunk_ND = np.ascontiguousarray(decode(weight_ND[rows], x_TD.dtype))
        y_TN[:, rows] = (chunk_ND @ x_TD.T).T
    return y_TN


@kernels.twin
def linear(x_TD: NDArray, weights: Linear) -> NDArray:
    """x Wᵀ + b: (T, D) to (T, N), in the type of ``x``."""
    return matmul(x_TD, weights.weight) + decode(weights.bias, x_TD.dtype)


@kernels.twin
def exact_linear(x_TD: NDArray, weights: Linear) -> NDArray:
    """As `linear`, but exact on every rung of the precision ladder: for the router, whose choice is at stake."""
    return product(x_TD, weights.weight) + decode(weights.bias, x_TD.dtype)
