"""The precision ladder: what the operands of the large products are rounded to.

    float32     nothing: weights are exact, and so are activations
    bfloat16    activations to the nearest bfloat16, 8 significant bits
    int8        activations to multiples of 1/127 of the largest in each block of 32

Sums are taken in float32 on every rung. Weights stay exact (those that ``dense="int8"`` has
rounded are a matter of loading), and the router's small product is never rounded: which
experts run is decided there. The kernels round in the same way and then multiply in the
fastest instructions that the processor has for such numbers; here the rounded numbers are
multiplied as any others.
"""

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minioss import bfloat16, kernels
from minioss.errors import InputError
from minioss.linear import Weight, product

BLOCK = 32
NEXT_TO_NOTHING = 1e-30

# Kernels that multiply by large weights.
ROUNDED_KERNELS = ("linear.matmul", "linear.linear", "attention.project", "experts.mix_experts")


def to_bfloat16(x_TD: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each number to the nearest bfloat16, ties to even."""
    return bfloat16.decode(bfloat16.encode(x_TD))


def to_int8(x_TD: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each block of 32 numbers of a row to multiples of 1/127 of its largest.

    A block whose largest number is below 1e-30 becomes zero.

    Examples
    --------
    >>> to_int8(np.array([[127, 3.4, -0.6]], np.float32))
    array([[127.,   3.,  -1.]], dtype=float32)
    """
    T, D = x_TD.shape
    padded = np.zeros((T, -(-D // BLOCK) * BLOCK), np.float32)
    padded[:, :D] = x_TD
    blocks = padded.reshape(T, -1, BLOCK)
    largest = np.abs(blocks).max(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        steps_in_one = np.where(largest < NEXT_TO_NOTHING, np.float32(0), np.float32(127) / largest)
        rounded = np.rint(blocks * steps_in_one) * (largest / np.float32(127))
    return rounded.reshape(T, -1)[:, :D]


ACTIVATIONS = {"float32": None, "bfloat16": to_bfloat16, "int8": to_int8}


def bindings(kernels_name: str | None, dtype: DTypeLike, threads: int | None, activations: str) -> kernels.Bindings:
    """What stands in for the marked functions on one rung, with the kernels or without.

    Parameters
    ----------
    kernels_name, dtype, threads : as for `kernels.choose`
    activations : "float32", "bfloat16" or "int8"

    Raises
    ------
    InputError
        Where the rung is none of these, or is coarser than float32 and ``dtype`` is float64.
    """
    if activations not in ACTIVATIONS:
        raise InputError(f"activations is {activations!r}; expected {', '.join(map(repr, ACTIVATIONS))}")
    chosen = kernels.choose(kernels_name, dtype, threads)
    if activations == "float32":
        return chosen
    if np.dtype(dtype) == np.float64:
        raise InputError(f"dtype is float64 and activations is {activations!r}; expected float32 for one of them")
    rounded = {
        name: functools.partial(chosen[name], activations=activations) for name in ROUNDED_KERNELS if name in chosen
    }
    matmul = functools.partial(_rounded_matmul, ACTIVATIONS[activations], rounded.get("linear.matmul"))
    return {**chosen, **rounded, "linear.matmul": matmul}


def _rounded_matmul(rounding: Callable, kernel: Callable | None, x_TD: NDArray, weight_ND: Weight) -> NDArray:
    """x is rounded whoever multiplies: the kernel, or NumPy where there is none or it cannot serve this weight."""
    y_TN = NotImplemented if kernel is None else kernel(x_TD, weight_ND)
    return product(rounding(x_TD), weight_ND) if y_TN is NotImplemented else y_TN
