"""The two dialects of ``config.json``: Hugging Face's and the original one.

Hugging Face's is known by its ``model_type``, the original by ``num_experts`` and
``rope_scaling_factor``. The original says less: YaRN is never rounded, the sliding layers
are the even ones, ε is 1e-5 and α is 1.702, all fixed in the code that reads it.
"""

from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

from minioss.config import Config, RopeConfig
from minioss.errors import InputError

HUGGINGFACE, ORIGINAL = "huggingface", "original"

# What minioss computes in one way only; a config that says otherwise is another model.
FIXED = {"attention_bias": True, "tie_word_embeddings": False, "hidden_act": "silu"}
SWITCHED_OFF = {"partial_rotary_factor": 1.0, "mscale": None, "mscale_all_dim": None}

NAME_IN_ORIGINAL = {
    "num_hidden_layers": "num_hidden_layers",
    "num_local_experts": "num_experts",
    "num_experts_per_tok": "experts_per_token",
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "swiglu_limit": "swiglu_limit",
    "head_dim": "head_dim",
    "num_attention_heads": "num_attention_heads",
    "num_key_value_heads": "num_key_value_heads",
    "sliding_window": "sliding_window",
}
ROPE_NAME_IN_ORIGINAL = {
    "rope_theta": "rope_theta",
    "factor": "rope_scaling_factor",
    "beta_slow": "rope_ntk_alpha",
    "beta_fast": "rope_ntk_beta",
    "original_max_position_embeddings": "initial_context_length",
}


def layout_of(content: dict[str, Any]) -> str:
    """``"huggingface"`` or ``"original"``.

    Raises
    ------
    InputError
        Where it is neither, or describes another kind of model.
    """
    if "model_type" in content:
        if content["model_type"] != "gpt_oss":
            raise InputError(f"model_type is {content['model_type']!r}; expected 'gpt_oss'")
        return HUGGINGFACE
    if "num_experts" in content and "rope_scaling_factor" in content:
        return ORIGINAL
    raise InputError("there is no model_type, and no num_experts with rope_scaling_factor; expected one of them")


def from_json(content: dict[str, Any]) -> Config:
    """Read the content of a ``config.json`` of either dialect."""
    return (_from_huggingface if layout_of(content) == HUGGINGFACE else _from_original)(content)


def _from_huggingface(content: dict[str, Any]) -> Config:
    for name, expected in FIXED.items():
        if content.get(name, expected) != expected:
            raise InputError(f"{name} is {content[name]!r}; expected {expected!r}, as in every gpt-oss")
    given = {field.name: content[field.name] for field in fields(Config) if content.get(field.name) is not None}
    layer_types = given.pop("layer_types", ())
    if not isinstance(layer_types, list | tuple):
        raise InputError(f"layer_types is {layer_types!r}; expected a list")
    return _build(Config, given, layer_types=tuple(map(str, layer_types)), rope=_rope_from_huggingface(content))


def _rope_from_huggingface(content: dict[str, Any]) -> RopeConfig:
    # transformers 5 writes rope_parameters, with rope_theta inside; earlier ones write rope_scaling.
    key = "rope_parameters" if content.get("rope_parameters") else "rope_scaling"
    rope = content.get(key)
    if not isinstance(rope, dict) or "rope_type" not in rope:
        raise InputError(
            f"{key} is {rope!r}, with no rope_type. Some readers take this for YaRN and some for plain RoPE; "
            "say which: {'rope_type': 'yarn', …} or {'rope_type': 'default'}"
        )
    for name, neutral in SWITCHED_OFF.items():
        if rope.get(name, neutral) != neutral:
            raise InputError(f"{key} has {name} = {rope[name]!r}; gpt-oss has no such thing")
    # A missing truncate is read as transformers reads it; the released models say false.
    given = {"truncate": True, "rope_theta": content.get("rope_theta")} | rope
    given = {field.name: given[field.name] for field in fields(RopeConfig) if given.get(field.name) is not None}
    needed = {"rope_theta"} | ({"factor", "original_max_position_embeddings"} if rope["rope_type"] == "yarn" else set())
    if missing := needed - given.keys():
        raise InputError(f"{key} has no {', '.join(sorted(missing))}, which rope_type {rope['rope_type']!r} needs")
    return RopeConfig(**given)


def _from_original(content: dict[str, Any]) -> Config:
    given = {name: content[theirs] for name, theirs in NAME_IN_ORIGINAL.items() if theirs in content}
    rope = {name: content[theirs] for name, theirs in ROPE_NAME_IN_ORIGINAL.items() if theirs in content}
    # As the original code has it: a factor of 1 is plain RoPE.
    yarn = rope["factor"] != 1
    config = _build(Config, given, rope=_build(RopeConfig, rope, rope_type="yarn" if yarn else "default"))
    context = int(config.rope.original_max_position_embeddings * config.rope.factor)
    return _build(Config, given, rope=config.rope, max_position_embeddings=context)


def _build(kind: Callable[..., Any], given: dict[str, Any], **more: Any) -> Any:
    required = NAME_IN_ORIGINAL.keys() - {"swiglu_limit"} if kind is Config else set()
    if missing := required - given.keys():
        names = ", ".join(sorted(missing))
        raise InputError(f"there is no {names}; expected a positive integer each")
    return kind(**given, **more)


def to_huggingface(config: Config, mxfp4: bool, special: dict[str, Any]) -> dict[str, Any]:
    """The Hugging Face ``config.json`` of a model; ``special`` holds its bos, eos and pad ids."""
    content = {"architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "dtype": "bfloat16"}
    content |= {name: value for name, value in asdict(config).items() if name != "rope"}
    rope = {name: value for name, value in asdict(config.rope).items() if value is not None}
    content |= FIXED | special | {"rope_theta": rope.pop("rope_theta"), "rope_scaling": rope, "use_cache": True}
    if mxfp4:
        # What stays in bfloat16, in the words of transformers' quantiser.
        kept = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
        content["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": kept}
    return content


def to_original(config: Config) -> dict[str, Any]:
    """The original ``config.json`` of a model.

    Raises
    ------
    InputError
        Where the model has something that this dialect cannot say.
    """
    content = {theirs: getattr(config, name) for name, theirs in NAME_IN_ORIGINAL.items()}
    content |= {theirs: getattr(config.rope, name) for name, theirs in ROPE_NAME_IN_ORIGINAL.items()}
    if config.rope.rope_type == "default":
        content["rope_scaling_factor"] = 1.0
    understood = _from_original(content)
    for name, value in asdict(config).items():
        if name not in ("max_position_embeddings", "rope") and asdict(understood)[name] != value:
            raise InputError(
                f"{name} is {value}; the original layout has no place for it and would read {asdict(understood)[name]}"
            )
    if config.rope.rope_type == "yarn" and understood.rope != config.rope:
        raise InputError(f"the original layout would read {understood.rope}; expected {config.rope}")
    return content
