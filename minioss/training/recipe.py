"""The recipe: every number that a run depends on, beside its data."""

from dataclasses import dataclass

from minioss.config import Config
from minioss.training.adamw import AdamW


@dataclass(frozen=True)
class Recipe:
    """How to train a model.

    Parameters
    ----------
    config : the model's shape
    seed : of the first weights and, for whoever draws batches, of the data
    steps, warmup, peak_rate : the learning rate's way up and down, see `schedule`
    adamw : the optimiser's numbers
    largest_norm : of the gradients, which are clipped to it
    balance : the factor of the load-balancing loss
    shards : into how many parts a batch is cut, each computed by a thread of its own
    """

    config: Config
    seed: int
    steps: int
    warmup: int
    peak_rate: float
    adamw: AdamW = AdamW()
    largest_norm: float = 1.0
    balance: float = 0.01
    shards: int = 2
