"""The loop: batch, gradients, step, and now and then a checkpoint.

A batch is cut into shards, and each shard's gradients are computed by a thread of its own in which
BLAS uses one. BLAS by itself would share out products alone; between them, in element-wise work,
all cores but one would wait. Gradients are added up in the order of the shards, so the weights do
not depend on how many cores there are.
"""

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minioss.errors import InputError, NotFiniteError
from minioss.training import adamw, checkpoint
from minioss.training.checkpoint import State
from minioss.training.parameters import Name, assembled, named
from minioss.training.recipe import Recipe
from minioss.training.schedule import rate
from minioss.training.shipped import shipped
from minioss.training.transformer import Batch, Losses, loss_and_gradients
from minioss.transformer import Weights


class Report(NamedTuple):
    """Of one step: its number, how many tokens, the losses before it, the norm of the gradients, the learning rate."""

    step: int
    tokens: int
    losses: Losses
    norm: float
    rate: float


def train(
    recipe: Recipe,
    batch_of: Callable[[int], Batch],
    path: Path,
    steps_per_checkpoint: int,
    report: Callable[[State, Report], None] = lambda state, report: None,
) -> State:
    """Train to the recipe's last step, from the checkpoint where there is one.

    Parameters
    ----------
    recipe : all that the run depends on, beside the data
    batch_of : the batch of a step, from 1; a function of the step alone, so that a run may be cut and go on
    path : the checkpoint's file
    steps_per_checkpoint : how often to write it
    report : called after each step; it must not change the state

    Raises
    ------
    InputError
        Where the checkpoint is of another recipe, a batch has fewer sequences than shards, or a package is missing.
    NotFiniteError
        Where the gradients are NaN or infinite; the checkpoint is then as it was.
    """
    state = checkpoint.read(path, recipe) if path.exists() else checkpoint.new(recipe)
    with one_blas_thread(), ThreadPoolExecutor(recipe.shards) as pool:
        while state.step < recipe.steps:
            state, told = step(state, batch_of(state.step + 1), recipe, pool)
            if state.step % steps_per_checkpoint == 0 or state.step == recipe.steps:
                checkpoint.write(path, state, recipe)
            report(state, told)
    return state


def step(state: State, batch: Batch, recipe: Recipe, pool: ThreadPoolExecutor) -> tuple[State, Report]:
    """One step; the arrays of ``state`` are changed in place."""
    names = list(state.masters)
    rounded = pool.map(lambda name: shipped(name[0], state.masters[name]), names)
    losses, gradients = shared_out(assembled(dict(zip(names, rounded))), batch, recipe, pool)
    norm = adamw.clip(gradients.values(), recipe.largest_norm)
    if not np.isfinite(norm):
        raise NotFiniteError(f"step {state.step + 1}: the norm of the gradients is {norm}")
    now, rate_now = state.step + 1, rate(state.step + 1, recipe.steps, recipe.warmup, recipe.peak_rate)

    def update(name: Name) -> None:
        decay = recipe.adamw.decay if name[0] in adamw.DECAYED else 0.0
        options = dataclasses.replace(recipe.adamw, decay=decay)
        arrays = state.masters[name], gradients[name], state.means[name], state.squares[name]
        adamw.update(*arrays, now, rate_now, options)

    list(pool.map(update, names))
    return state._replace(step=now), Report(now, len(batch.token_T), losses, norm, rate_now)


def shared_out(
    weights: Weights, batch: Batch, recipe: Recipe, pool: ThreadPoolExecutor
) -> tuple[Losses, dict[Name, NDArray]]:
    """`loss_and_gradients` of a batch, by shards. The load-balancing loss is the mean over them."""
    shards = split(batch, recipe.shards)
    balance = recipe.balance / len(shards)
    results = list(pool.map(lambda shard: loss_and_gradients(weights, shard, recipe.config, balance), shards))
    total = named(results[0][1])
    for _, gradients in results[1:]:
        for name, gradient in named(gradients).items():
            total[name] += gradient
    cross_entropy, balances = zip(*(losses for losses, _ in results))
    return Losses(sum(cross_entropy), sum(balances) / len(shards)), total


def split(batch: Batch, shards: int) -> list[Batch]:
    """Parts of about as many tokens each, cut between sequences."""
    if len(batch.length_N) < shards:
        raise InputError(f"a batch has {len(batch.length_N)} sequences; expected at least shards = {shards}")
    end_N = np.cumsum(batch.length_N)
    wanted = end_N[-1] * np.arange(1, shards) / shards
    cuts = np.unique(np.abs(end_N[:-1, None] - wanted).argmin(axis=0)) + 1
    of_tokens = zip(*(np.split(array, end_N[cuts - 1]) for array in batch[:3]))
    return [Batch(*parts, length_N) for parts, length_N in zip(of_tokens, np.split(batch.length_N, cuts))]


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """A ``with`` in which every product runs on the thread that asks for it."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        raise InputError('training needs the package threadpoolctl: pip install "minioss[train]"') from None
    with threadpool_limits(1, user_api="blas"):
        yield
