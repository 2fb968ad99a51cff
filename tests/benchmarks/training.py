"""Training speed against torch: `python -m tests.benchmarks.training`.

The same weights, batch and steps in transformers' own implementation and in minioss.training: float32, gradients
clipped to 1, AdamW. Turns alternate, and each is a process of its own with the same number of threads. Prints a table
whose last column is tokens a second over those of torch at its best.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

import minioss
from minioss.training import checkpoint, loop
from minioss.training.recipe import Recipe
from minioss.training.transformer import Batch
from tests.training import of_rows

ENGINES = {
    "torch, experts eager": "torch eager",
    "torch, experts grouped_mm": "torch grouped_mm",
    "minioss, float32": "minioss float32",
    "minioss, in the format that ships": "minioss shipped",
}
CONFIG = minioss.Config(
    num_hidden_layers=6,
    hidden_size=192,
    intermediate_size=192,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=64,
    num_local_experts=8,
    num_experts_per_tok=2,
    vocab_size=2048,
    sliding_window=64,
    max_position_embeddings=1024,
    rope=minioss.RopeConfig(original_max_position_embeddings=128, factor=8.0),
)
RECIPE = Recipe(CONFIG, seed=0, steps=10**6, warmup=1, peak_rate=1e-3, balance=0.0)


def batch_of(sequences: int, length: int) -> Batch:
    ids = np.random.default_rng(0).integers(CONFIG.vocab_size, size=(sequences, length + 1))
    counts = np.full((sequences, length), 1 / (sequences * length), np.float32)
    return of_rows(ids[:, :-1], ids[:, 1:], counts)


def minioss_step(batch: Batch, threads: int, weights: str, stack: ExitStack) -> Callable[[], float]:
    """A function that makes one step and gives the loss before it."""
    if weights == "float32":
        loop.shipped = lambda part, master: master
    stack.enter_context(loop.one_blas_thread())
    pool = stack.enter_context(ThreadPoolExecutor(threads))
    recipe = replace(RECIPE, shards=threads)
    state = checkpoint.new(recipe)

    def step() -> float:
        nonlocal state
        state, report = loop.step(state, batch, recipe, pool)
        return report.losses.cross_entropy

    return step


def torch_step(batch: Batch, threads: int, experts: str) -> Callable[[], float]:
    """The same in torch."""
    import torch

    from tests.parity.transformers_training import model_of

    torch.set_num_threads(threads)
    model = model_of(CONFIG, checkpoint.new(RECIPE).masters, experts)
    options = RECIPE.adamw
    optimizer = torch.optim.AdamW(
        model.parameters(),
        RECIPE.peak_rate,
        (options.beta1, options.beta2),
        options.eps,
        options.decay,
        fused=True,
    )
    tokens, targets = (torch.from_numpy(part.reshape(len(batch.length_N), -1)) for part in batch[:2])

    def step() -> float:
        optimizer.zero_grad()
        logits = model(input_ids=tokens, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.ravel())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), RECIPE.largest_norm)
        optimizer.step()
        return loss.item()

    return step


def measure(engine: str, batch: Batch, threads: int, steps: int) -> dict[str, list[float]]:
    """Losses, and seconds of each step but the first two."""
    kind, option = engine.split()
    losses, seconds = [], []
    with ExitStack() as stack:
        make = functools.partial(minioss_step, stack=stack) if kind == "minioss" else torch_step
        step = make(batch, threads, option)
        for _ in range(steps + 2):
            start = time.perf_counter()
            losses.append(step())
            seconds.append(time.perf_counter() - start)
    return {"losses": losses, "seconds": seconds[2:]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5, help="of each turn")
    parser.add_argument("--sequences", type=int, default=16)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    options = parser.parse_args()
    batch = batch_of(options.sequences, options.length)
    if options.engine:
        print(json.dumps(measure(options.engine, batch, options.threads, options.steps)))
        return
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    results = {name: {"losses": [], "seconds": []} for name in ENGINES}
    for _ in range(options.turns):
        for name, engine in ENGINES.items():
            command = [sys.executable, "-m", "tests.benchmarks.training", *sys.argv[1:], "--engine", engine]
            output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
            for key, values in json.loads(output.splitlines()[-1]).items():
                results[name][key] += values
    tokens = batch.token_T.size
    speed = {name: tokens / statistics.median(result["seconds"]) for name, result in results.items()}
    best = max(value for name, value in speed.items() if name.startswith("torch"))
    print("| | first loss | seconds a step: median, least | tokens a second | over torch |\n|---|---|---|---|---|")
    for name, result in results.items():
        median, least = statistics.median(result["seconds"]), min(result["seconds"])
        print(
            f"| {name} | {result['losses'][0]:.5f} | {median:.3f}, {least:.3f} "
            f"| {speed[name]:.0f} | {speed[name] / best:.2f} |"
        )


if __name__ == "__main__":
    main()
