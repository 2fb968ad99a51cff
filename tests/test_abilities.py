"""How a trained model is judged: its answers, and how well it predicts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minioss
from minioss.text.harmony.messages import Message
from minioss.training import abilities as judging
from minioss.training.corpus.conversations import written
from minioss.training.corpus.evaluation import questions
from minioss.training.corpus.tokenizer import tokenizer
from minioss.training.initial import initial
from minioss.training.tiny import CONFIG
from minioss.training.transformer import Batch, loss_and_gradients
from minioss.training.validation import _Level, model_loss, trigram_loss
from tests.models import small_config


@pytest.fixture
def model():
    special = tokenizer().encode_single_token
    stops = (special("<|return|>"), special("<|call|>"))
    return minioss.Model(CONFIG, initial(CONFIG, 0), stop_tokens=stops)


def speaking(monkeypatch, replies):
    """Let the model say these replies, whatever it is asked."""
    left = [tokenizer().encode(reply, allowed_special="all") for reply in replies]

    def generate_batch(model, prompts, **options):
        said = [left.pop(0) for _ in prompts]
        for step in range(max(map(len, said))):
            yield [tokens[step] if step < len(tokens) else None for tokens in said]

    monkeypatch.setattr(judging, "generate_batch", generate_batch)


def answer(text):
    return written([Message("assistant", text, "final")])


def test_right_and_wrong_answers(monkeypatch, model):
    asked = questions("add", "high", 4)
    thought = "<|channel|>analysis<|message|>So.<|end|><|start|>assistant"
    replies = [
        answer(asked[0].answer),
        thought + answer(asked[1].answer),
        answer("a guess"),
        "<|channel|>final<|message|>" + asked[3].answer + "<|end|>",
    ]
    speaking(monkeypatch, replies)
    found = judging.abilities(model, tokenizer(), asked)
    before_the_answer = tokenizer().encode(thought.removesuffix("<|start|>assistant"), allowed_special="all")
    assert found == judging.Abilities(4, right=0.75, well_formed=0.75, called=0.0, reasoning=len(before_the_answer) / 4)


def test_calls_are_right_with_the_right_arguments_and_the_answer_after(monkeypatch, model):
    asked = questions("multiply", "low", 4, functions=True)
    calls = [written([question.call]) for question in asked]
    wrong = calls[1].replace("<|message|>", '<|message|>{"nonsense": 1}, ')
    elsewhere = calls[2].replace(asked[2].call.recipient, "functions.other")
    speaking(monkeypatch, [calls[0], wrong, elsewhere, calls[3], answer(asked[0].answer), answer("no idea")])
    found = judging.abilities(model, tokenizer(), asked)
    assert (found.right, found.called, found.well_formed) == (0.25, 1.0, 1.0)


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=30), min_size=1, max_size=4), st.data())
def test_the_probabilities_of_a_trigram_model_sum_to_one(texts, data):
    levels = [_Level(texts, order) for order in (1, 2, 3)]
    context = tuple(data.draw(st.lists(st.integers(0, 4), min_size=2, max_size=2)))
    total = 0.0
    for token in range(5):
        probability = 1 / 5
        for order, level in enumerate(levels):
            probability = level.probability(context[2 - order :], token, probability)
        total += probability
    assert total == pytest.approx(1)


def test_counting_predicts_what_it_has_read():
    text = [0, 1, 2, 3] * 50
    assert trigram_loss([text], [text], 4) < 0.05 < trigram_loss([[0, 1]], [text], 4)


def test_the_loss_of_a_model_is_that_of_training():
    config = small_config()
    weights, ids = initial(config, 0, np.float64), np.arange(41) * 7 % 101
    batch = Batch(ids[:-1], ids[1:], np.full(40, 1 / 40), np.array([40]))
    losses, _ = loss_and_gradients(weights, batch, config)
    model = minioss.Model(config, weights, "float64")
    assert model_loss(model, [ids], 512) == pytest.approx(losses.cross_entropy, rel=1e-12)
    assert model_loss(model, [ids], 40) == pytest.approx(losses.cross_entropy, rel=1e-12)
