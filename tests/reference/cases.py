"""A dozen small checkpoints whose reference logits are kept in this folder.

Together they hold: head sizes 16, 32, 64; 1 to 8 key/value heads; 1 to 8 queries a group; 4 to 32
experts, 1 to 4 active; windows 1 to 128, always shorter than the text; plain RoPE and YaRN with and
without rounding; short original lengths; other limits, orders of layers, α and ε; scales at the edges.
"""

from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np

from minioss import Config, RopeConfig, preset
from minioss.checkpoint.shards import Shards
from minioss.config import FULL, SLIDING
from tests.models import edge_scales, small_config, synthesize


class Case(NamedTuple):
    config: Config
    tokens: int
    dense: bool = False
    edge_scales: bool = False
    seed: int = 0


def yarn(**changes) -> RopeConfig:
    return RopeConfig(**({"original_max_position_embeddings": 64} | changes))


CASES = {
    "tiny": Case(preset("tiny"), tokens=120),
    "official-rope": Case(small_config(num_hidden_layers=4, head_dim=64, rope=RopeConfig()), tokens=150),
    "official-rope-rounded": Case(small_config(head_dim=64, rope=RopeConfig(truncate=True)), tokens=150, seed=1),
    "plain-rope": Case(small_config(rope=RopeConfig(rope_type="default", rope_theta=10000.0)), tokens=80),
    "wide-window": Case(
        small_config(num_hidden_layers=2, sliding_window=128, num_attention_heads=8, num_key_value_heads=1),
        tokens=390,
        seed=2,
    ),
    "window-of-one": Case(
        small_config(sliding_window=1, num_attention_heads=8, num_key_value_heads=8, num_experts_per_tok=1),
        tokens=60,
        seed=3,
    ),
    "many-experts": Case(
        small_config(num_local_experts=32, num_experts_per_tok=4, hidden_size=64, intermediate_size=96),
        tokens=70,
        seed=4,
    ),
    "many-heads": Case(
        small_config(num_attention_heads=40, num_key_value_heads=5, head_dim=32, sliding_window=17), tokens=90, seed=5
    ),
    "other-order": Case(
        small_config(num_hidden_layers=5, layer_types=(FULL, FULL, SLIDING, SLIDING, FULL), rope=yarn(factor=4.0)),
        tokens=60,
        seed=6,
    ),
    "short-original-length": Case(
        small_config(head_dim=32, rope=yarn(original_max_position_embeddings=4, truncate=True)), tokens=64, seed=7
    ),
    "low-limit": Case(
        small_config(
            swiglu_limit=1.25,
            swiglu_alpha=1.3,
            rms_norm_eps=1e-2,
            num_local_experts=4,
            num_experts_per_tok=3,
            rope=yarn(beta_fast=1.5, beta_slow=1.5),  # both ends of the ramp in one place
        ),
        tokens=64,
        seed=8,
    ),
    "edge-scales": Case(small_config(hidden_size=160, intermediate_size=96), tokens=64, edge_scales=True, seed=9),
    "dense": Case(small_config(num_local_experts=6, rope=yarn(beta_fast=16.0, beta_slow=2.0)), tokens=64, dense=True),
}


def make(name: str, folder: Path) -> tuple[Path, np.ndarray]:
    """Write a case's checkpoint; return its folder and the tokens to run."""
    case = CASES[name]
    out = synthesize(folder, case.config, dense=case.dense, seed=case.seed)
    if case.edge_scales:
        edge_scales(out)
    return out, np.random.RandomState(case.seed).randint(case.config.vocab_size, size=case.tokens)


def checksum(folder: Path) -> int:
    """A number that tells whether the checkpoint is the one that the reference saw."""
    shards = Shards(folder)
    total = 0
    for name in shards.names:
        tensor = shards.tensor(name)
        total = crc32(getattr(tensor, "bits", tensor).tobytes(), total)
    return total
