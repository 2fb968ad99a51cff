"""All weights of a model by name: what the optimiser walks through and a checkpoint stores.

A name is a part and its layer, None outside the layers, as `minioss.checkpoint.layouts` has them.
"""

from collections.abc import Mapping
from typing import TypeAlias

from numpy.typing import NDArray

from minioss.attention import AttentionWeights
from minioss.experts import ExpertWeights
from minioss.linear import Linear
from minioss.transformer import LayerWeights, Weights

Name: TypeAlias = tuple[str, int | None]
Arrays: TypeAlias = Mapping[Name, NDArray]

MAPS = ("query", "key", "value", "output")


def named(weights: Weights) -> dict[Name, NDArray]:
    """The arrays of ``weights`` themselves, not copies, in a fixed order."""
    found: dict[Name, NDArray] = {("embedding", None): weights.embedding}
    for index, layer in enumerate(weights.layers):
        parts = {"attention_norm": layer.attention_norm, "sinks": layer.attention.sinks}
        for name, linear in zip((*MAPS, "router"), (*layer.attention[:-1], layer.router), strict=True):
            parts |= {f"{name}.weight": linear.weight, f"{name}.bias": linear.bias}
        parts |= {"experts_norm": layer.experts_norm, **layer.experts._asdict()}
        found |= {(part, index): array for part, array in parts.items()}
    return found | {("norm", None): weights.norm, ("unembedding", None): weights.unembedding}


def assembled(arrays: Arrays) -> Weights:
    """The inverse of `named`."""

    def layer(index: int) -> LayerWeights:
        def linear(name: str) -> Linear:
            return Linear(arrays[f"{name}.weight", index], arrays[f"{name}.bias", index])

        return LayerWeights(
            attention_norm=arrays["attention_norm", index],
            attention=AttentionWeights(*map(linear, MAPS), arrays["sinks", index]),
            experts_norm=arrays["experts_norm", index],
            router=linear("router"),
            experts=ExpertWeights(*(arrays[part, index] for part in ExpertWeights._fields)),
        )

    layers = [layer(index) for part, index in arrays if part == "sinks"]
    return Weights(arrays["embedding", None], layers, arrays["norm", None], arrays["unembedding", None])
