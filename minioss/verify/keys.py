"""The names of a trace: what each array of the model is called, its axes and its meaning.

One table, which the recorder, the reader, the docs page and the comparison share.
"""

from typing import NamedTuple

from minioss.config import Config


class Key(NamedTuple):
    """One array of a trace. ``axes`` use the letters of the house; ``block`` is the part of the model that gives it."""

    name: str
    axes: str
    block: str
    meaning: str

    @property
    def is_integer(self) -> bool:
        """Whether it holds ids, and not numbers that were rounded."""
        return self.name in ("tokens", "router.experts")


BEFORE = (
    Key("tokens", "T", "tokens", "the token ids (integers)"),
    Key("embedding", "T, D", "tokens", "the embedding's row of each token"),
    Key("rope.cos", "T, k", "rope", "cos of each position's angles, times the concentration"),
    Key("rope.sin", "T, k", "rope", "sin of the same, times the concentration"),
)
LAYER = (
    Key("attention_norm", "T, D", "norms", "what attention sees: the layer's input, normalised"),
    Key("attention.q", "T, n, K", "attention", "queries with their bias, before RoPE"),
    Key("attention.k", "T, H, K", "attention", "keys with their bias, before RoPE"),
    Key("attention.v", "T, H, K", "attention", "values with their bias"),
    Key("attention.q_rope", "T, n, K", "rope", "queries after RoPE"),
    Key("attention.k_rope", "T, H, K", "rope", "keys after RoPE"),
    Key(
        "attention.scores",
        "n, T, S+1",
        "attention",
        "q · k / sqrt(K), -infinity where a query may not look; the last column is the head's sink",
    ),
    Key("attention.weights", "n, T, S", "attention", "the softmax of the scores, the sink's own share dropped"),
    Key("attention.mixed", "T, n, K", "attention", "the weighted sums of the values, head by head"),
    Key("attention.output", "T, D", "attention", "after the output map and its bias, before it is added to the input"),
    Key("experts_norm", "T, D", "norms", "what router and experts see: input + attention.output, normalised"),
    Key("router.logits", "T, E", "router", "one logit an expert, bias included"),
    Key("router.experts", "T, A", "router", "the chosen experts, best first (integers)"),
    Key("router.weights", "T, A", "router", "how much each chosen expert counts; rows sum to 1"),
    Key("experts.gate_up", "T, A, 2F", "experts", "the first map with its bias, gate and up alternating"),
    Key("experts.activation", "T, A, F", "experts", "after the clamped SwiGLU"),
    Key("experts.down", "T, A, D", "experts", "the second map with its bias, not yet weighted"),
    Key("experts.output", "T, D", "experts", "the weighted sum over the chosen experts"),
    Key("output", "T, D", "layer", "the layer's output: input + attention.output + experts.output"),
)
AFTER = (
    Key("norm", "T, D", "norms", "the last layer's output, normalised"),
    Key("logits", "T, V", "head", "one logit an entry of the vocabulary"),
)


# What each array is computed from; "stream" is the output of the layer before, or the embedding.
INPUTS = {
    "attention_norm": ("stream",),
    "attention.q": ("attention_norm",),
    "attention.k": ("attention_norm",),
    "attention.v": ("attention_norm",),
    "attention.q_rope": ("attention.q", "rope.cos", "rope.sin"),
    "attention.k_rope": ("attention.k", "rope.cos", "rope.sin"),
    "attention.scores": ("attention.q_rope", "attention.k_rope"),
    "attention.weights": ("attention.scores",),
    "attention.mixed": ("attention.weights", "attention.v"),
    "attention.output": ("attention.mixed",),
    "experts_norm": ("stream", "attention.output"),
    "router.logits": ("experts_norm",),
    "router.experts": ("router.logits",),
    "router.weights": ("router.logits", "router.experts"),
    "experts.gate_up": ("experts_norm", "router.experts"),
    "experts.activation": ("experts.gate_up",),
    "experts.down": ("experts.activation", "router.experts"),
    "experts.output": ("experts.down", "router.weights"),
    "output": ("stream", "attention.output", "experts.output"),
    "norm": ("stream",),
    "logits": ("norm",),
}


def keys(config: Config) -> dict[str, Key]:
    """Every key of a model's trace by its full name, in the order in which they are computed.

    Examples
    --------
    >>> from minioss.config import preset
    >>> keys(preset("tiny"))["layers.3.attention.q_rope"].axes
    'T, n, K'
    """
    layers = {f"layers.{index}.{key.name}": key for index in range(config.num_hidden_layers) for key in LAYER}
    return {key.name: key for key in BEFORE} | layers | {key.name: key for key in AFTER}


def inputs(name: str, config: Config) -> list[str]:
    """The full names of the arrays that one of this full name is computed from.

    Examples
    --------
    >>> from minioss.config import preset
    >>> inputs("layers.3.experts_norm", preset("tiny"))
    ['layers.2.output', 'layers.3.attention.output']
    """
    key = keys(config)[name].name
    layer = int(name.split(".")[1]) if name != key else config.num_hidden_layers
    stream = f"layers.{layer - 1}.output" if layer else "embedding"
    places = {"stream": stream, "rope.cos": "rope.cos", "rope.sin": "rope.sin", "norm": "norm"}
    return [places.get(each, f"layers.{layer}.{each}") for each in INPUTS.get(key, ())]


def block(name: str, key: Key) -> str:
    """The part of the model that gives an array of this full name.

    Examples
    --------
    >>> block("layers.3.attention.q_rope", LAYER[4]), block("logits", AFTER[1])
    ('layers.3.rope', 'head')
    """
    return name.removesuffix(key.name) + key.block


def shape(key: Key, config: Config, T: int) -> tuple[int, ...]:
    """The shape of an array of a trace of T tokens; S, the keys that a query may look at, is T."""
    sizes = {
        "T": T,
        "S": T,
        "S+1": T + 1,
        "D": config.hidden_size,
        "V": config.vocab_size,
        "n": config.num_attention_heads,
        "H": config.num_key_value_heads,
        "K": config.head_dim,
        "k": config.head_dim // 2,
        "E": config.num_local_experts,
        "A": config.num_experts_per_tok,
        "F": config.intermediate_size,
        "2F": 2 * config.intermediate_size,
    }
    return tuple(sizes[axis] for axis in key.axes.split(", "))
