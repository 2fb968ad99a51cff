"""A linear map, y = x Wᵀ + b, backward.

dx = dy W        dW = dyᵀ x        db = Σ_t dy
"""

from numpy.typing import NDArray

from minioss.linear import Linear


def forward(x_TD: NDArray, weights: Linear) -> NDArray:
    """(T, D) to (T, N). The backward pass needs x alone."""
    y_TN = x_TD @ weights.weight.T
    y_TN += weights.bias
    return y_TN


def backward(dy_TN: NDArray, x_TD: NDArray, weights: Linear) -> tuple[NDArray, Linear]:
    """dx (T, D), and dW and db."""
    return dy_TN @ weights.weight, Linear(dy_TN.T @ x_TD, dy_TN.sum(axis=0))
