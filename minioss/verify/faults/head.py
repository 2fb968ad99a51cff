"""Mistakes between the last norm and the logits."""

import numpy as np

from minioss.verify.faults.catalogue import mistake


@mistake("transformer.unembed", official="The unembedding is a matrix of its own.")
def unembedding_tied(right, x_TD, weights, config):
    """The embedding serves as the unembedding."""
    return right(x_TD, weights._replace(unembedding=weights.embedding), config)


@mistake("transformer.unembed", official="Logits are the product as it is.")
def logits_soft_capped(right, x_TD, weights, config):
    """Logits are bent by 30 tanh(logit / 30)."""
    return 30 * np.tanh(right(x_TD, weights, config) / 30)
