"""What the weights of a model take, part by part, and how much of it one decoded token needs.

A token needs one row of the embedding, its active experts, and all of the rest.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

from minioss.config import Config
from minioss.linear import Weight
from minioss.transformer import Weights

PARTS = ("embedding", "attention", "router", "experts", "norms", "unembedding")


class Part(NamedTuple):
    """Parameters and bytes: all of them, and those that one token needs."""

    parameters: int
    nbytes: int
    active: int
    nbytes_read: int


def parts(weights: Weights, config: Config) -> dict[str, Part]:
    """Each part of a model, by its name, and ``"all"`` of them together."""
    share = {"embedding": 1 / config.vocab_size, "experts": config.num_experts_per_tok / config.num_local_experts}
    found = dict.fromkeys((*PARTS, "all"), Part(0, 0, 0, 0))
    for name, tensor in _tensors(weights):
        count, needed = math.prod(tensor.shape), share.get(name, 1)
        part = Part(count, tensor.nbytes, round(count * needed), round(tensor.nbytes * needed))
        for group in (name, "all"):
            found[group] = Part(*map(sum, zip(found[group], part, strict=True)))
    return found


def _tensors(weights: Weights) -> Iterator[tuple[str, Weight]]:
    yield "embedding", weights.embedding
    for layer in weights.layers:
        *maps, sinks = layer.attention
        groups = {
            "attention": [sinks, *(tensor for linear in maps for tensor in linear)],
            "router": layer.router,
            "experts": layer.experts,
            "norms": (layer.attention_norm, layer.experts_norm),
        }
        yield from ((name, tensor) for name, tensors in groups.items() for tensor in tensors)
    yield "norms", weights.norm
    yield "unembedding", weights.unembedding


def multiply_adds(weights: Weights, config: Config) -> tuple[int, int]:
    """Of the linear maps: of all layers for one token, and of the unembedding for one position.

    Attention's own products, which grow with the length of the text, are not counted.
    """
    layers = 0
    for layer in weights.layers:
        *maps, _ = layer.attention
        always = [linear.weight for linear in (*maps, layer.router)]
        an_expert = [layer.experts.gate_up[0], layer.experts.down[0]]
        layers += sum(math.prod(weight.shape) for weight in always)
        layers += config.num_experts_per_tok * sum(math.prod(weight.shape) for weight in an_expert)
    return layers, math.prod(weights.unembedding.shape)
