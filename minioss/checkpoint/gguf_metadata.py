"""What a GGUF file says about a model beside its tensors: the config, and the vocabulary.

llama.cpp holds some of gpt-oss fixed in its code; a config that differs there is refused, since
llama.cpp would load the file and compute something else.

Source: llama.cpp, conversion/base.py (``TextModel``), src/models/openai-moe.cpp, src/llama-vocab.cpp.
"""

from collections.abc import Iterator
from typing import Any

from minioss.checkpoint import tokenizer_json
from minioss.checkpoint.loading import Checkpoint
from minioss.checkpoint.tokenizer_json import Vocabulary
from minioss.config import Config, alternating
from minioss.errors import InputError

ARCHITECTURE = "gpt-oss"
MOSTLY_MXFP4 = 38
QUANTIZATION_VERSION = 2
NORMAL, CONTROL, UNUSED = 1, 3, 5

FIXED = {"swiglu_alpha": 1.702, "swiglu_limit": 7.0}


def of_config(config: Config) -> dict[str, int | float | str]:
    """The keys of a config.

    Raises
    ------
    InputError
        Where llama.cpp has no key for what the config says.
    """
    _check(config)
    keys = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "expert_feed_forward_length": config.intermediate_size,
        "expert_count": config.num_local_experts,
        "expert_used_count": config.num_experts_per_tok,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "attention.sliding_window": config.sliding_window,
        "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        "rope.freq_base": float(config.rope.rope_theta),
    }
    if config.rope.rope_type == "yarn":
        keys |= {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": float(config.rope.factor),
            "rope.scaling.original_context_length": config.rope.original_max_position_embeddings,
            "rope.scaling.yarn_beta_fast": float(config.rope.beta_fast),
            "rope.scaling.yarn_beta_slow": float(config.rope.beta_slow),
        }
    general = {
        "general.type": "model",
        "general.file_type": MOSTLY_MXFP4,
        "general.quantization_version": QUANTIZATION_VERSION,
    }
    return general | {f"{ARCHITECTURE}.{key}": value for key, value in keys.items()}


def _check(config: Config) -> None:
    for name, fixed in FIXED.items():
        if getattr(config, name) != fixed:
            raise InputError(
                f"{name} is {getattr(config, name)}; llama.cpp computes with {fixed}, whatever a file says"
            )
    if config.layer_types != alternating(config.num_hidden_layers):
        raise InputError(
            f"layer_types is {', '.join(config.layer_types)}; llama.cpp knows sliding and full in turn alone"
        )
    if config.rope.attention_factor is not None:
        raise InputError(f"attention_factor is {config.rope.attention_factor}; llama.cpp knows YaRN's own alone")


def find_vocabulary(checkpoint: Checkpoint) -> Vocabulary | None:
    """What the folder's tokenizer.json says (for ``…/original``, the one above it too), if there is one.

    Raises
    ------
    InputError
        Where it cannot be read, has ids beyond the model's, or cuts text in a way unknown to llama.cpp.
    """
    folder = checkpoint.folder
    for place in [folder, folder.parent] if folder.name == "original" else [folder]:
        path = place / tokenizer_json.FILENAME
        if path.exists():
            vocabulary = tokenizer_json.read(path)
            largest = max(*vocabulary.ranks.values(), *vocabulary.special.values())
            if largest >= checkpoint.config.vocab_size:
                raise InputError(
                    f"{path} has token {largest}; expected ids below vocab_size = {checkpoint.config.vocab_size}"
                )
            if vocabulary.pattern != tokenizer_json.PATTERN:
                raise InputError(f"{path} cuts text by {vocabulary.pattern}; llama.cpp knows gpt-oss's pattern alone")
            return vocabulary
    return None


def of_vocabulary(vocabulary: Vocabulary | None, vocab_size: int) -> dict[str, Any]:
    """The keys of a vocabulary. Without one every id is an unused token."""
    ranks, special = (vocabulary.ranks, vocabulary.special) if vocabulary else ({}, {})
    tokens = [f"[PAD{token}]" for token in range(vocab_size)]
    types = [UNUSED] * vocab_size
    for token, rank in ranks.items():
        tokens[rank], types[rank] = _spelled(token), NORMAL
    for name, token in special.items():
        tokens[token], types[token] = name, CONTROL
    named = {
        "bos": tokenizer_json.BEGINNING,
        "eos": tokenizer_json.STOPS[0],
        "padding": tokenizer_json.PADDING,
    }
    keys = {
        "model": "gpt2",
        "pre": "gpt-4o",
        "tokens": tokens,
        "token_type": types,
        # llama.cpp asks for merges, and an array in GGUF cannot be empty; an empty merge never applies.
        "merges": list(_merges(ranks)) or [""],
    } | {f"{key}_token_id": special[name] for key, name in named.items() if name in special}
    return {f"tokenizer.ggml.{key}": value for key, value in keys.items()}


def _merges(ranks: dict[bytes, int]) -> Iterator[str]:
    """Every way to make a token of two others, in the order of ranks: what the official tokenizer.json lists."""
    for token in sorted(ranks, key=ranks.__getitem__):
        pairs = ((token[:cut], token[cut:]) for cut in range(1, len(token)))
        known = [pair for pair in pairs if pair[0] in ranks and pair[1] in ranks]
        for left, right in sorted(known, key=lambda pair: (ranks[pair[0]], ranks[pair[1]])):
            yield f"{_spelled(left)} {_spelled(right)}"


SPELLING = tokenizer_json.byte_characters()


def _spelled(token: bytes) -> str:
    return "".join(map(SPELLING.__getitem__, token))


def add(writer: Any, keys: dict[str, Any]) -> None:
    """Hand the keys to a ``gguf.GGUFWriter``, each with the type that llama.cpp reads."""
    method = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string, list: writer.add_array}
    for key, value in keys.items():
        method[type(value)](key, value)
