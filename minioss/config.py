"""The shape of a gpt-oss model: every number that the architecture leaves open.

Fields keep the names that the Hugging Face ``config.json`` gives them. How the two
dialects of that file are read and written is in ``checkpoint/config_json.py``.
"""

from dataclasses import dataclass, fields
from typing import Any

from minioss.errors import InputError

SLIDING, FULL = "sliding_attention", "full_attention"


def _require(holds: bool, name: str, found: Any, expected: str) -> None:
    if not holds:
        raise InputError(f"{name} is {found}; expected {expected}")


def _check_int(config: Any, name: str) -> None:
    value = getattr(config, name)
    _require(type(value) is int and 0 < value < 2**40, name, repr(value), "a positive integer")


def _check_float(config: Any, name: str) -> None:
    value = getattr(config, name)
    _require(type(value) in (int, float) and 0 < value < float("inf"), name, repr(value), "a positive, finite number")


@dataclass(frozen=True)
class RopeConfig:
    """How positions turn the queries and keys (see ``rope.py``).

    Parameters
    ----------
    rope_type : "yarn", or "default" for plain RoPE, where only ``rope_theta`` counts
    rope_theta : θ, the base of the frequencies
    factor : how many times the original length is stretched
    beta_fast : pairs that turn more often than this within the original length keep their frequency
    beta_slow : pairs that turn less often than this are slowed down by the factor
    truncate : whether the ends of the ramp between them are rounded to whole pairs
    original_max_position_embeddings : the original length, in tokens
    attention_factor : what cos and sin are multiplied by; None for YaRN's own ``0.1 ln(factor) + 1``

    Raises
    ------
    InputError
        Where a field has the wrong type or is out of range.
    """

    rope_type: str = "yarn"
    rope_theta: float = 150000.0
    factor: float = 32.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = False
    original_max_position_embeddings: int = 4096
    attention_factor: float | None = None

    def __post_init__(self) -> None:
        if self.rope_type not in ("default", "yarn"):
            raise InputError(f"rope_type is {self.rope_type!r}; expected 'default' or 'yarn'")
        _require(type(self.truncate) is bool, "truncate", self.truncate, "true or false")
        _check_int(self, "original_max_position_embeddings")
        for name in ("rope_theta", "factor", "beta_fast", "beta_slow"):
            _check_float(self, name)
        if self.attention_factor is not None:
            _check_float(self, "attention_factor")
        _require(self.rope_theta > 1, "rope_theta", self.rope_theta, "a number above 1")
        _require(self.factor >= 1, "factor", self.factor, "a number of at least 1")


@dataclass(frozen=True)
class Config:
    """The shape of a model. Immutable; every field is checked when it is made.

    Parameters
    ----------
    num_hidden_layers : L
    hidden_size : D, numbers a token in the residual stream
    intermediate_size : F, numbers in the middle of an expert
    num_attention_heads : query heads, H G of them
    num_key_value_heads : H, of which each serves G query heads
    head_dim : K, numbers in a query or a key; even
    num_local_experts : E, experts a layer
    num_experts_per_tok : A, experts that a token runs
    vocab_size : V
    sliding_window : tokens that a query of a sliding layer sees, itself included
    layer_types : "sliding_attention" or "full_attention" for each layer; () for both in turn, sliding first
    max_position_embeddings : the context, in tokens
    rms_norm_eps : ε of the norms
    swiglu_alpha : α, the factor in the activation's sigmoid
    swiglu_limit : where the activation is clamped
    rope : how positions turn queries and keys

    Raises
    ------
    InputError
        Where a field has the wrong type, or two fields do not go together.
    """

    num_hidden_layers: int
    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    num_local_experts: int
    num_experts_per_tok: int
    vocab_size: int
    sliding_window: int
    layer_types: tuple[str, ...] = ()
    max_position_embeddings: int = 131072
    rms_norm_eps: float = 1e-5
    swiglu_alpha: float = 1.702
    swiglu_limit: float = 7.0
    rope: RopeConfig = RopeConfig()

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.type in (int, "int"):
                _check_int(self, field.name)
            elif field.type in (float, "float"):
                _check_float(self, field.name)
        _require(self.num_hidden_layers <= 10000, "num_hidden_layers", self.num_hidden_layers, "at most 10000")
        if not self.layer_types:
            object.__setattr__(self, "layer_types", alternating(self.num_hidden_layers))
        self._check_relations()

    def _check_relations(self) -> None:
        for kind in self.layer_types:
            _require(kind in (SLIDING, FULL), "layer_types", kind, f"{SLIDING!r} or {FULL!r}")
        count = len(self.layer_types)
        _require(
            count == self.num_hidden_layers,
            "layer_types",
            f"{count} entries",
            f"num_hidden_layers = {self.num_hidden_layers}",
        )
        heads, kv_heads = self.num_attention_heads, self.num_key_value_heads
        _require(heads % kv_heads == 0, "num_attention_heads", heads, f"a multiple of num_key_value_heads = {kv_heads}")
        _require(self.head_dim % 2 == 0, "head_dim", self.head_dim, "an even number (RoPE turns pairs)")
        _require(
            self.num_experts_per_tok <= self.num_local_experts,
            "num_experts_per_tok",
            self.num_experts_per_tok,
            f"at most num_local_experts = {self.num_local_experts}",
        )

    def window(self, layer: int) -> int | None:
        """How many tokens, itself included, a query of this layer sees; ``None`` means all."""
        window = min(self.sliding_window, self.max_position_embeddings)
        return window if self.layer_types[layer] == SLIDING else None


def alternating(num_hidden_layers: int) -> tuple[str, ...]:
    """The official order of layers: sliding first, then full, in turn."""
    return tuple(FULL if layer % 2 else SLIDING for layer in range(num_hidden_layers))


def preset(name: str) -> Config:
    """The configuration of a released model, or of a small one for trying things out.

    Parameters
    ----------
    name : "20b", "120b" or "tiny"

    Raises
    ------
    InputError
        Where there is no such preset.

    Examples
    --------
    >>> preset("20b").num_local_experts
    32
    """
    if name not in PRESETS:
        raise InputError(f"preset is {name!r}; expected one of {', '.join(PRESETS)}")
    return PRESETS[name]


def _released(num_hidden_layers: int, num_local_experts: int) -> Config:
    return Config(
        num_hidden_layers=num_hidden_layers,
        hidden_size=2880,
        intermediate_size=2880,
        num_attention_heads=64,
        num_key_value_heads=8,
        head_dim=64,
        num_local_experts=num_local_experts,
        num_experts_per_tok=4,
        vocab_size=201088,
        sliding_window=128,
    )


PRESETS = {
    # Small enough for any laptop, with none of the real model's coincidences:
    # hidden is not intermediate, and kv heads are not queries per kv head.
    "tiny": Config(
        num_hidden_layers=4,
        hidden_size=192,
        intermediate_size=128,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=32,
        num_local_experts=8,
        num_experts_per_tok=2,
        vocab_size=272,
        sliding_window=16,
    ),
    "20b": _released(num_hidden_layers=24, num_local_experts=32),
    "120b": _released(num_hidden_layers=36, num_local_experts=128),
}
