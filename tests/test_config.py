"""The config: both dialects of its file, the presets, and what is refused."""

import json
from dataclasses import replace

import pytest
from hypothesis import given

import minioss
from minioss.checkpoint.config_json import from_json, layout_of, to_huggingface, to_original
from minioss.config import FULL, SLIDING
from tests.models import configs, small_config

# The released files, in the keys that say something of the shape.
RELEASED_20B = {
    "architectures": ["GptOssForCausalLM"],
    "attention_bias": True,
    "attention_dropout": 0.0,
    "eos_token_id": 200002,
    "experts_per_token": 4,
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": 2880,
    "initial_context_length": 4096,
    "intermediate_size": 2880,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
    "max_position_embeddings": 131072,
    "model_type": "gpt_oss",
    "num_attention_heads": 64,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 24,
    "num_key_value_heads": 8,
    "num_local_experts": 32,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "factor": 32.0,
        "original_max_position_embeddings": 4096,
        "rope_type": "yarn",
        "truncate": False,
    },
    "rope_theta": 150000,
    "sliding_window": 128,
    "swiglu_limit": 7.0,
    "tie_word_embeddings": False,
    "vocab_size": 201088,
}
RELEASED_ORIGINAL_20B = {
    "num_hidden_layers": 24,
    "num_experts": 32,
    "experts_per_token": 4,
    "vocab_size": 201088,
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "swiglu_limit": 7.0,
    "head_dim": 64,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "sliding_window": 128,
    "initial_context_length": 4096,
    "rope_theta": 150000,
    "rope_scaling_factor": 32.0,
    "rope_ntk_alpha": 1,
    "rope_ntk_beta": 32,
}


def without(content, *names):
    return {name: value for name, value in content.items() if name not in names}


def test_both_released_files_are_the_preset():
    assert from_json(RELEASED_20B) == from_json(RELEASED_ORIGINAL_20B) == minioss.preset("20b")
    bigger = {"num_hidden_layers": 36, "num_local_experts": 128, "layer_types": [SLIDING, FULL] * 18}
    assert from_json(RELEASED_20B | bigger) == minioss.preset("120b")
    assert layout_of(RELEASED_20B) == "huggingface" and layout_of(RELEASED_ORIGINAL_20B) == "original"


@given(configs())
def test_huggingface_round_trip(config):
    assert from_json(json.loads(json.dumps(to_huggingface(config, True, {})))) == config


@given(configs())
def test_original_round_trip_or_a_clear_no(config):
    try:
        content = to_original(config)
    except minioss.InputError as error:
        assert "original layout" in str(error)
        return
    again = from_json(json.loads(json.dumps(content)))
    assert replace(again, max_position_embeddings=config.max_position_embeddings, rope=config.rope) == config
    assert config.rope.rope_type == "default" or again.rope == config.rope


def test_the_original_layout_holds_official_shapes():
    config = minioss.preset("120b")
    assert from_json(to_original(config)) == config


def test_rope_parameters_as_transformers_5_writes_them():
    rope = RELEASED_20B["rope_scaling"] | {"rope_theta": 150000}
    assert from_json(without(RELEASED_20B, "rope_scaling", "rope_theta") | {"rope_parameters": rope}) == minioss.preset(
        "20b"
    )


def test_a_missing_truncate_is_true_as_transformers_has_it():
    rope = without(RELEASED_20B["rope_scaling"], "truncate")
    assert from_json(RELEASED_20B | {"rope_scaling": rope}).rope.truncate is True


def test_defaults_that_all_readers_share():
    config = from_json(without(RELEASED_20B, "layer_types", "rms_norm_eps", "swiglu_limit"))
    assert config == minioss.preset("20b")


def rope_with(**changes):
    return RELEASED_20B | {"rope_scaling": RELEASED_20B["rope_scaling"] | changes}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (RELEASED_20B | {"model_type": "llama"}, "model_type is 'llama'; expected 'gpt_oss'"),
        (without(RELEASED_20B, "model_type"), "there is no model_type, and no num_experts with rope_scaling_factor"),
        ({}, "there is no model_type"),
        (
            without(RELEASED_20B, "head_dim", "hidden_size"),
            "there is no head_dim, hidden_size; expected a positive integer",
        ),
        (without(RELEASED_ORIGINAL_20B, "experts_per_token"), "there is no num_experts_per_tok"),
        (RELEASED_20B | {"rope_scaling": None}, "rope_scaling is None, with no rope_type"),
        (without(RELEASED_20B, "rope_scaling"), "rope_scaling is None, with no rope_type"),
        (RELEASED_20B | {"rope_scaling": {"factor": 32.0}}, "with no rope_type"),
        (rope_with(rope_type="llama3"), "rope_type is 'llama3'; expected 'default' or 'yarn'"),
        (rope_with(factor=None), "rope_scaling has no factor, which rope_type 'yarn' needs"),
        (rope_with(factor="32"), "factor is '32'; expected a positive, finite number"),
        (rope_with(factor=0.5), "factor is 0.5; expected a number of at least 1"),
        (rope_with(truncate="no"), "truncate is no; expected true or false"),
        (rope_with(mscale=0.7), "rope_scaling has mscale = 0.7; gpt-oss has no such thing"),
        (
            rope_with(original_max_position_embeddings=4096.5),
            "original_max_position_embeddings is 4096.5; expected a positive integer",
        ),
        (RELEASED_20B | {"rope_theta": 1}, "rope_theta is 1; expected a number above 1"),
        (without(RELEASED_20B, "rope_theta"), "rope_scaling has no rope_theta"),
        (RELEASED_20B | {"hidden_size": "2880"}, "hidden_size is '2880'; expected a positive integer"),
        (RELEASED_20B | {"hidden_size": True}, "hidden_size is True; expected a positive integer"),
        (RELEASED_20B | {"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000; expected at most 10000"),
        (RELEASED_20B | {"hidden_size": 0}, "hidden_size is 0; expected a positive integer"),
        (RELEASED_20B | {"swiglu_limit": -1}, "swiglu_limit is -1; expected a positive, finite number"),
        (
            RELEASED_20B | {"layer_types": ["full_attention"]},
            "layer_types is 1 entries; expected num_hidden_layers = 24",
        ),
        (RELEASED_20B | {"layer_types": ["linear"] * 24}, "layer_types is linear; expected 'sliding_attention' or"),
        (RELEASED_20B | {"layer_types": "all"}, "layer_types is 'all'; expected a list"),
        (
            RELEASED_20B | {"num_key_value_heads": 7},
            "num_attention_heads is 64; expected a multiple of num_key_value_heads = 7",
        ),
        (RELEASED_20B | {"head_dim": 63}, "head_dim is 63; expected an even number"),
        (
            RELEASED_20B | {"num_experts_per_tok": 33},
            "num_experts_per_tok is 33; expected at most num_local_experts = 32",
        ),
        (RELEASED_20B | {"attention_bias": False}, "attention_bias is False; expected True"),
        (RELEASED_20B | {"tie_word_embeddings": True}, "tie_word_embeddings is True; expected False"),
        (RELEASED_20B | {"hidden_act": "gelu"}, "hidden_act is 'gelu'; expected 'silu'"),
    ],
)
def test_refused(content, message):
    with pytest.raises(minioss.InputError) as caught:
        from_json(content)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer_types": (FULL, SLIDING, FULL)}, "layer_types is ('full_attention'"),
        ({"swiglu_alpha": 1.5}, "swiglu_alpha is 1.5; the original layout has no place for it and would read 1.702"),
        ({"rms_norm_eps": 1e-6}, "rms_norm_eps is 1e-06"),
        ({"rope": minioss.RopeConfig(truncate=True)}, "the original layout would read"),
    ],
)
def test_what_the_original_layout_cannot_say(changes, message):
    with pytest.raises(minioss.InputError) as caught:
        to_original(small_config(**changes))
    assert message in str(caught.value)


def test_an_unknown_preset():
    with pytest.raises(minioss.InputError, match="preset is '7b'; expected one of tiny, 20b, 120b"):
        minioss.preset("7b")
