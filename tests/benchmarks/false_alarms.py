"""Does `minioss verify` call right ports wrong? `python -m tests.benchmarks.false_alarms [--runs 200]`.

Each run draws a shape, random weights, tokens, a precision, which arrays the port gives, and whether its hidden
numbers lie in another order than the checkpoint's, and counts the verdicts. `--told` tells the precision.
"""

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

import minioss
from minioss.config import FULL, SLIDING
from tests.correct import GIVEN, PORTS, computed, shuffled
from tests.models import small_config


def drawn_config(random: np.random.Generator) -> minioss.Config:
    """Shapes of two to four layers, of which the first has a window."""
    layers = int(random.integers(2, 5))
    return small_config(
        num_hidden_layers=layers,
        layer_types=(SLIDING, *random.choice([SLIDING, FULL], layers - 1)),
        hidden_size=int(random.choice([64, 96, 192])),
        intermediate_size=int(random.choice([32, 64, 128])),
        num_local_experts=int(random.choice([4, 8, 32])),
        num_experts_per_tok=int(random.integers(1, 5)),
        head_dim=int(random.choice([16, 32, 64])),
        sliding_window=int(random.choice([8, 16, 32])),
        rope=minioss.RopeConfig(original_max_position_embeddings=int(random.choice([64, 4096]))),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--told", action="store_true", help="tell the precision")
    options = parser.parse_args()
    counts: dict[str, Counter] = {}
    for seed in range(options.first, options.first + options.runs):
        random = np.random.default_rng(seed)
        port, given = str(random.choice(list(PORTS))), str(random.choice(list(GIVEN)))
        with tempfile.TemporaryDirectory() as folder:
            minioss.synthesize(Path(folder) / "model", drawn_config(random), seed=seed)
            model = minioss.load(Path(folder) / "model", kernels="numpy")
            ids = random.integers(model.config.vocab_size, size=int(random.integers(80, 161)))
            other = bool(random.integers(2))
            arrays = shuffled(model, random).computed(ids, port, given) if other else computed(model, ids, port, given)
            found = minioss.compare(model, arrays, port.partition(",")[0] if options.told else None)
        name = f"{port}{', shuffled' if other else ''}: {given}"
        counts.setdefault(name, Counter())[found.verdict.verdict] += 1
        if found.verdict.verdict != "right":
            print(
                f"seed {seed}: {name}: {found.verdict.verdict}, as {found.precision}: {found.verdict.reasons}",
                flush=True,
            )
    for name, count in sorted(counts.items()):
        print(f"{name:45} {dict(count)}")
    print(f"all: {dict(sum(counts.values(), Counter()))}")


if __name__ == "__main__":
    main()
