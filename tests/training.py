"""Small models to train, derivatives by differences, and a task that `python -m tests.training FILE STEPS` trains on."""

import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

import minioss
from minioss.config import FULL, SLIDING
from minioss.training import loop
from minioss.training.initial import initial
from minioss.training.parameters import named
from minioss.training.recipe import Recipe
from minioss.training.transformer import Batch
from tests.models import ropes, small_config

TASK = Recipe(
    small_config(num_hidden_layers=2, hidden_size=32, intermediate_size=32, vocab_size=16),
    seed=3,
    steps=40,
    warmup=5,
    peak_rate=1e-2,
)


@st.composite
def training_configs(draw):
    """Shapes that no block format holds to multiples of 32, with every size another."""
    experts = draw(st.integers(2, 7))
    layers = draw(st.integers(1, 3))
    kv_heads = draw(st.integers(1, 3))
    return small_config(
        num_hidden_layers=layers,
        hidden_size=draw(st.sampled_from([11, 18, 25])),
        intermediate_size=draw(st.sampled_from([5, 13, 16])),
        num_attention_heads=kv_heads * draw(st.integers(1, 4)),
        num_key_value_heads=kv_heads,
        head_dim=draw(st.sampled_from([2, 6, 8])),
        num_local_experts=experts,
        num_experts_per_tok=draw(st.integers(1, experts)),
        vocab_size=37,
        sliding_window=draw(st.sampled_from([1, 2, 9, 70])),
        layer_types=tuple(draw(st.lists(st.sampled_from([SLIDING, FULL]), min_size=layers, max_size=layers))),
        swiglu_limit=draw(st.sampled_from([7.0, 1.5])),
        swiglu_alpha=draw(st.sampled_from([1.702, 1.0])),
        rms_norm_eps=draw(st.sampled_from([1e-5, 1e-2])),
        rope=draw(ropes()),
    )


def perturbed(config: minioss.Config, seed: int) -> dict:
    """Weights in float64, none of them at a value that hides a mistake, as a bias of zero would."""
    random = np.random.default_rng(seed)
    masters = named(initial(config, seed, np.float64))
    return {name: array + 0.3 * random.standard_normal(array.shape) for name, array in masters.items()}


def random_batch(config: minioss.Config, sequences: int, length: int, seed: int) -> Batch:
    """Random tokens; some targets do not count, and the others count differently."""
    random = np.random.default_rng(seed)
    tokens, targets = random.integers(config.vocab_size, size=(2, sequences, length))
    return of_rows(tokens, targets, random.random((sequences, length)) * (random.random((sequences, length)) < 0.7))


def of_rows(token_NS: np.ndarray, target_NS: np.ndarray, weight_NS: np.ndarray) -> Batch:
    """Sequences of one length."""
    N, S = token_NS.shape
    return Batch(token_NS.ravel(), target_NS.ravel(), weight_NS.ravel(), np.full(N, S))


def check_gradient(value: Callable[[np.ndarray], float], at: np.ndarray, gradient: np.ndarray, seed: int) -> None:
    """Hold a gradient against central differences of the fourth order, along a direction that moves every number."""
    direction = np.random.default_rng(seed).choice([-1.0, 1.0], at.shape)
    step = 1e-3 / math.sqrt(at.size)
    near, far = (value(at + size * direction) - value(at - size * direction) for size in (step, 2 * step))
    slope = (8 * near - far) / (12 * step)
    assert gradient.shape == at.shape
    assert abs(slope - np.sum(gradient * direction)) <= 1e-7 * np.linalg.norm(gradient)


def batch_of(step: int) -> Batch:
    """Rows of numbers that count up from a random one, modulo the vocabulary."""
    random = np.random.default_rng([TASK.seed, step])
    rows = (random.integers(16, size=(4, 1)) + np.arange(25)) % 16
    return of_rows(rows[:, :-1], rows[:, 1:], np.full((4, 24), 1 / 96, np.float32))


if __name__ == "__main__":
    loop.train(TASK, batch_of, Path(sys.argv[1]), int(sys.argv[2]), lambda state, told: print(told.step, flush=True))
