"""Correct ports, for tests of the comparison: what is right in every precision, and not computed as the reference is."""

from contextlib import nullcontext
from dataclasses import replace
from typing import NamedTuple

import numpy as np

import minioss
from minioss.linear import Linear, decode
from minioss.verify import rounding
from minioss.verify.keys import keys

# By name: fields of the model, and how it rounds beside that.
PORTS = {
    "float32": ({}, nullcontext),
    "float32, angles too": ({}, rounding.float32_angles),
    "bfloat16, official": ({}, rounding.official),
    "bfloat16, transformers": ({}, rounding.transformers),
    "bfloat16, products": ({"activations": "bfloat16"}, nullcontext),
    "int8": ({"activations": "int8"}, nullcontext),
    "int8, bfloat16 cache": ({"activations": "int8", "cache": "bfloat16"}, nullcontext),
}
GIVEN = {
    "all": lambda name: True,
    "logits": lambda name: name in ("tokens", "logits"),
    "outputs": lambda name: name in ("tokens", "logits") or name.endswith(".output") and name.count(".") == 2,
}


def computed(model, ids, port, given="all", fault=None):
    """What a port gives that is correct, but for a fault."""
    fields, rounds = PORTS[port]
    with rounds(), minioss.fault(fault) if fault else nullcontext():
        arrays = minioss.trace(replace(model, dtype="float32", kernels="numpy", **fields), ids)
    return {name: values for name, values in arrays.items() if GIVEN[given](name)}


class Shuffled(NamedTuple):
    """The same model with its hidden numbers in another order: all sums run otherwise, and int8 has other blocks."""

    model: minioss.Model
    order: np.ndarray

    def computed(self, ids, port, given="all"):
        """As `computed`, with hidden numbers back in their order."""
        known, back = keys(self.model.config), np.argsort(self.order)
        arrays = computed(self.model, ids, port, given)
        return {
            name: values[..., back] if known[name].axes.endswith("D") else values for name, values in arrays.items()
        }


def shuffled(model, random):
    """A model with its hidden numbers in another order."""
    order = random.permutation(model.config.hidden_size)
    plain = _decoded(model.weights)
    weights = plain._replace(
        embedding=plain.embedding[:, order],
        norm=plain.norm[order],
        unembedding=plain.unembedding[:, order],
        layers=[_shuffled_layer(layer, order) for layer in plain.layers],
    )
    return Shuffled(replace(model, weights=weights), order)


def _shuffled_layer(layer, order):
    attention = layer.attention._replace(
        **{
            name: Linear(each.weight[:, order], each.bias)
            for name, each in zip(("query", "key", "value"), layer.attention)
        },
        output=Linear(layer.attention.output.weight[order], layer.attention.output.bias[order]),
    )
    experts = layer.experts._replace(
        gate_up=layer.experts.gate_up[..., order],
        down=layer.experts.down[:, order],
        down_bias=layer.experts.down_bias[:, order],
    )
    return layer._replace(
        attention_norm=layer.attention_norm[order],
        attention=attention,
        experts_norm=layer.experts_norm[order],
        router=Linear(layer.router.weight[:, order], layer.router.bias),
        experts=experts,
    )


def _decoded(weights):
    """Every weight as float32."""
    if isinstance(weights, tuple):
        return type(weights)(*map(_decoded, weights))
    return [_decoded(each) for each in weights] if isinstance(weights, list) else decode(weights, np.float32)
