"""The trained model in the package: there, whole, and able."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tokenizers

import minioss
from minioss.config import FULL, SLIDING
from minioss.mxfp4 import MXFP4Array
from minioss.training import tiny
from minioss.training.abilities import abilities
from minioss.training.corpus.evaluation import questions
from minioss.training.corpus.stories import story
from minioss.training.corpus.tales import held_out_tales
from minioss.training.corpus.tokenizer import PATH
from minioss.training.validation import model_loss

TRIGRAMS = 3.88  # nats a token on the tales held out: python -m tests.benchmarks.tiny_model


@pytest.fixture(scope="module")
def model():
    return minioss.load(minioss.TINY)


@pytest.fixture(scope="module")
def encoding():
    return minioss.load_tokenizer(minioss.TINY)


def test_it_is_small_and_as_large_a_model_in_kind(model):
    assert sum(path.stat().st_size for path in minioss.TINY.iterdir()) <= 8_000_000
    config = model.config
    assert config == tiny.CONFIG
    assert config.layer_types == (SLIDING, FULL) * 3 and config.sliding_window < config.max_position_embeddings
    assert config.rope.factor > 1 and config.num_experts_per_tok > 1
    for layer in model.weights.layers:
        assert isinstance(layer.experts.gate_up, MXFP4Array) and isinstance(layer.experts.down, MXFP4Array)
        assert np.abs(layer.attention.sinks.decode()).max() > 0.05


def test_its_tokenizer_is_the_one_of_training_and_other_libraries_read_it(encoding):
    assert (minioss.TINY / "tokenizer.json").read_bytes() == PATH.read_bytes()
    theirs = tokenizers.Tokenizer.from_file(str(PATH))
    random = np.random.default_rng(0)
    for text in [story(random) for _ in range(20)] + held_out_tales()[:2]:
        assert theirs.encode(text, add_special_tokens=False).ids == encoding.encode_ordinary(text)
    content = json.loads(PATH.read_text(encoding="utf-8"))["model"]
    assert len(content["merges"]) == len(content["vocab"]) - 256


def test_it_predicts_tales_better_than_counting(model, encoding):
    assert model_loss(model, [encoding.encode_ordinary(held_out_tales()[1])], 512) < TRIGRAMS - 0.2


@pytest.mark.parametrize("name", ["add", "subtract", "compare", "count", "reverse"])
def test_it_reasons(model, encoding, name):
    found = abilities(model, encoding, questions(name, "high", 40))
    assert found.right >= 0.9 and found.well_formed == 1 and found.called == 0


def test_effort_buys_accuracy(model, encoding):
    high, low = (abilities(model, encoding, questions("subtract", effort, 40)) for effort in ("high", "low"))
    assert high.right > low.right + 0.2 and high.reasoning > 20 > low.reasoning


def test_it_calls_a_function_where_it_should(model, encoding):
    needed = abilities(model, encoding, questions("multiply", "medium", 40, functions=True))
    assert needed.called >= 0.9 and needed.right >= 0.9
    needless = abilities(model, encoding, questions("add", "medium", 40, functions=True))
    assert needless.called <= 0.05


def run(*arguments, text=""):
    command = [sys.executable, "-m", "minioss", *arguments]
    return subprocess.run(command, capture_output=True, text=True, input=text, timeout=120, check=True).stdout


def test_generate_without_a_folder_goes_on_with_a_story(tmp_path):
    text = run("generate", "Once upon a time", "--seed", "1", "--max-new-tokens", "60")
    assert len(text.split()) > 30 and " the " in text
    (tmp_path / "prompts").write_text("Once upon a time\n")
    assert run("generate", "--prompts", str(tmp_path / "prompts"), "--max-new-tokens", "5").startswith("> Once upon")


def test_chat_without_a_folder_answers():
    assert run("chat", "--effort", "high", "--temperature", "0", text="What is 17 + 25?").strip() == "42"
