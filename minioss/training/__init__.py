"""Training: the backward pass of every block, the optimiser, and the format that ships held in the loop.

For any array w, ``dw`` is ∂loss/∂w. A block has a ``forward``, which returns its output and what
its ``backward`` needs, and computes the same numbers as the block of the same name above. A
batch is N sequences of any lengths, one after the other: T tokens in all.
"""
