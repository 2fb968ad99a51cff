"""The embedding, backward: a token's row receives what reached it in every place where it stood.

x[t] = E[token[t]]        dE[v] = Σ dx[t] over all t with token[t] = v
"""

import numpy as np
from numpy.typing import NDArray


def forward(token_T: NDArray[np.integer], embedding_VD: NDArray) -> NDArray:
    """(T,) to (T, D)."""
    return embedding_VD[token_T]


def backward(dx_TD: NDArray, token_T: NDArray[np.integer], vocab_size: int) -> NDArray:
    """dE (V, D)."""
    order_T = np.argsort(token_T, kind="stable")
    present, starts = np.unique(token_T[order_T], return_index=True)
    dembedding_VD = np.zeros((vocab_size, dx_TD.shape[1]), dx_TD.dtype)
    dembedding_VD[present] = np.add.reduceat(dx_TD[order_T], starts, axis=0)
    return dembedding_VD
