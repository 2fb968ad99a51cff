"""NaN and infinity: refused where they appear, and where in a layer they came from."""

import numpy as np
from numpy.typing import NDArray

from minioss.config import Config
from minioss.errors import NotFiniteError
from minioss.experts import ExpertWeights, expert
from minioss.router import Routing


def finite(values: NDArray, complaint: str) -> NDArray:
    """The values as they are, or a `NotFiniteError`."""
    if not np.isfinite(values).all():
        raise NotFiniteError(complaint)
    return values


def culprit(x_TD: NDArray, normed_TD: NDArray, routing: Routing, weights: ExpertWeights, config: Config) -> str:
    """Which part of a layer gave NaN or infinity, given what the experts saw and x before they were added."""
    if not np.isfinite(x_TD).all():
        return "the attention gave NaN or infinity"
    if not np.isfinite(routing.weight_TA).all():
        return "the router gave NaN or infinity"
    guilty = []
    for index in np.unique(routing.expert_TA):
        tokens = (routing.expert_TA == index).any(axis=-1)
        if not np.isfinite(expert(normed_TD[tokens], weights, index, config.swiglu_alpha, config.swiglu_limit)).all():
            guilty.append(str(index))
    if not guilty:
        return f"the sum of the experts is beyond {x_TD.dtype}"
    return f"expert {', '.join(guilty)} gave NaN or infinity (`minioss info FOLDER --check` reads every weight)"
