"""Mistakes on the way from token ids to vectors."""

import math

from minioss.verify.faults.catalogue import mistake


@mistake("transformer.embed", official="Token t is row t of the embedding.")
def token_row_shifted(right, ids_T, weights, dtype):
    """Every token gets the row after its own, as where a row for padding stands first."""
    return right((ids_T + 1) % weights.embedding.shape[0], weights, dtype)


@mistake("transformer.embed", official="The embedding's rows are used as they are.")
def embedding_scaled(right, ids_T, weights, dtype):
    """The embedding is multiplied by the root of the hidden size."""
    return right(ids_T, weights, dtype) * math.sqrt(weights.embedding.shape[1])
