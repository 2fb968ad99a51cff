"""The logit lens: what the model would say next, if a layer were its last.

A layer's output goes through the last norm and the unembedding, as if no layer came after it.

Source: nostalgebraist, "interpreting GPT: the logit lens" (2020).
"""

from numpy.typing import NDArray

from minioss.model import Model
from minioss.router import softmax
from minioss.transformer import unembed


def as_if_last(x_TD: NDArray, model: Model) -> NDArray:
    """The probabilities of the next token, of any states of the residual stream.

    Parameters
    ----------
    x_TD : float32 or float64, (T, D): what a layer gave, or the embedding
    model : whose layer it was

    Returns
    -------
    (T, V), of the type of ``x_TD``

    Raises
    ------
    NotFiniteError
        Where a logit is NaN or infinite.
    """
    shares_TV = unembed(x_TD, model.weights, model.config)
    # Row by row and in place: of a long text with a large vocabulary, one such array is much.
    for logits_V in shares_TV:
        logits_V[:] = softmax(logits_V)
    return shares_TV
