"""The tiny model: its shape, and the run that makes it.

The same blocks and kinds of layers as gpt-oss: windows on every other layer, shorter than what it is
trained on, YaRN, sinks, experts of which a token uses two.
"""

from minioss.config import Config, RopeConfig
from minioss.training.corpus import mixture
from minioss.training.recipe import Recipe
from minioss.training.transformer import Batch

CONFIG = Config(
    num_hidden_layers=6,
    hidden_size=192,
    intermediate_size=192,
    num_attention_heads=6,
    num_key_value_heads=2,
    head_dim=32,
    num_local_experts=10,
    num_experts_per_tok=2,
    vocab_size=2048,
    sliding_window=64,
    max_position_embeddings=1024,
    rope=RopeConfig(original_max_position_embeddings=256, factor=4.0),
)
STEPS = 8000
WARMUP = 200
PEAK_RATE = 2e-3


def recipe(steps: int = STEPS, seed: int = 0) -> Recipe:
    """The run of so many steps."""
    return Recipe(CONFIG, seed, steps, warmup=min(WARMUP, steps // 2 + 1), peak_rate=PEAK_RATE)


def batch_of(seed: int, step: int) -> Batch:
    """The batch of a step of it."""
    return mixture.batch(seed, step)
