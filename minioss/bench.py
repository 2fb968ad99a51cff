"""How fast a model runs on this machine, and how fast it could.

A decoded token reads every weight that it needs once, so it is held against the bandwidth at
which this machine reads memory. A prompt multiplies each weight by many tokens, so it is held
against the peak of the instructions that multiply. Both limits are measured here too.

Token ids are drawn at random, always the same ones; nothing is sampled from the logits.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minioss import kernels, machine, precision
from minioss.cache import Cache, Snapshot
from minioss.checkpoint.loading import load
from minioss.errors import InputError
from minioss.model import Model, Progress
from minioss.mxint8 import MXINT8Array
from minioss.parts import multiply_adds, parts
from minioss.prompts import TOKENS_PER_PIECE

FIRST_PROMPT = 16
BUFFER_BYTES = 10**9
READS = 7
# Smaller arrays are read before all threads are awake.
LARGE_BYTES = 2**20
# A prompt runs until it has taken a second, but not more often than this.
RUNS = 5


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Parameters
    ----------
    prompt_tokens : lengths of the prompts
    depths : how many tokens the cache holds when decoding starts
    new_tokens : how many tokens to decode, at each depth
    batch : how many prompts to decode at once, or None

    Raises
    ------
    InputError
        Where a number is too small.
    """

    prompt_tokens: Sequence[int] = (512,)
    depths: Sequence[int] = (0,)
    new_tokens: int = 64
    batch: int | None = None

    def __post_init__(self) -> None:
        counts = {"prompt_tokens": self.prompt_tokens, "new_tokens": [self.new_tokens]}
        counts["batch"] = [] if self.batch is None else [self.batch]
        for name, values in counts.items():
            for value in values:
                if value < 1:
                    raise InputError(f"{name} is {value}; expected at least 1")
        for depth in self.depths:
            if depth < 0:
                raise InputError(f"a depth is {depth}; expected 0 or more")

    def check_context(self, context: int) -> None:
        """Refuse what is longer than the context, in tokens."""
        for length in self.prompt_tokens:
            if length > context:
                raise InputError(f"prompt_tokens is {length}; expected at most max_position_embeddings = {context}")
        for depth in (*self.depths, 0):
            if depth + self.new_tokens > context:
                raise InputError(
                    f"{self.new_tokens} new tokens at depth {depth} make {depth + self.new_tokens}; "
                    f"expected at most max_position_embeddings = {context}"
                )


@dataclass(eq=False)
class Clock:
    """Adds up the seconds that are spent in the functions it wraps."""

    seconds: float = 0.0

    def timed(self, function: Callable) -> Callable:
        """The same function, its time added up."""

        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - start

        return call


@dataclass(frozen=True)
class TimedModel(Model):
    """A model whose clock adds up the time that its calls spend in kernels."""

    clock: Clock = field(default_factory=Clock)

    def kernels_in_use(self) -> AbstractContextManager[None]:
        bound = precision.bindings(self.kernels, self.dtype, self.threads, self.activations)
        return kernels.using({name: self.clock.timed(function) for name, function in bound.items()})


def measure(
    folder: str | Path,
    plan: Plan,
    progress: Callable[[str], Progress | None] = lambda label: None,
    **options: Any,
) -> dict[str, Any]:
    """Open a model and measure what the plan says.

    Parameters
    ----------
    folder, **options : as for `minioss.load`
    plan : what to measure
    progress : gives, for a label, what is told how far that work has come

    Returns
    -------
    dict
        Plain numbers, text, lists and dicts, with their units in the names; None where this
        machine cannot tell. Percentages are of the ``machine``'s own limits.

        - ``model``: kernels ("numpy" or "cython"), instruction_set, threads, dtype, activations,
          dense, cache
        - ``machine``: read_gigabytes_per_second (mean of the next two), read_before… and
          read_after_gigabytes_per_second (medians of several), read_buffer_bytes,
          weights_gigabytes_per_second (at which a token's large matrices are read where they
          lie: some memory is slower; None where none is large),
          product (what multiplies prompts in the kernels), peak_gigaops_per_second (of it)
        - ``opening``: open_seconds, first_token_seconds (those included), first_prompt_tokens
        - ``prefill``, a list: prompt_tokens, seconds (the median of the runs), tokens_per_second,
          gigaflop_per_second (a multiply-add of a linear map is two; attention's products are
          left out), peak_percent
        - ``decode``, a list: depth_tokens, new_tokens, seconds_per_token (the median),
          tokens_per_second, bytes_per_token (weights, keys and values), gigabytes_per_second,
          read_percent, share_outside_kernels (0 to 1, the median)
        - ``batch``, or None: prompts, new_tokens, seconds_per_step (the median), tokens_per_second
          (of all prompts together)
        - ``memory``: own_bytes (beyond mapped files), peak_bytes (mapped files included), mapped
          (a `machine.MappedPages`)

    Raises
    ------
    InputError
        Where the model cannot be opened, or the plan goes beyond its context.
    """
    model, opening = _opened(folder, plan, options)
    peak = kernels.peak(model.activations, _threads(model))
    prefill = _prefill(model, plan.prompt_tokens, progress)
    # Once more, the larger counts: other work may have slowed the first.
    peak = peak and max(peak, kernels.peak(model.activations, _threads(model)))
    batch = None if plan.batch is None else _batch(model, plan.batch, plan.new_tokens, progress)
    cache, snapshots = _filled(model, plan.depths, progress)
    # From here on the buffers that are read would count as memory of the model.
    peak_memory = machine.peak_memory()
    before = _read_rate(model)
    # Backwards: going back to a depth forgets those beyond it.
    decode = [_decode(model, cache, snapshot, plan.new_tokens, progress) for snapshot in reversed(snapshots)][::-1]
    memory = {**_memory(Path(folder)), "peak_bytes": peak_memory}
    limits = {
        **_mean_rate(before, _read_rate(model)),
        "weights_gigabytes_per_second": _weights_rate(model),
        "product": kernels.products().get(model.activations),
        "peak_gigaops_per_second": peak and peak / 1e9,
    }
    for row in decode:
        row["read_percent"] = _percent(row["gigabytes_per_second"], limits["read_gigabytes_per_second"])
    for row in prefill:
        row["peak_percent"] = _percent(row["gigaflop_per_second"], limits["peak_gigaops_per_second"])
    return {
        "model": _described(model),
        "machine": limits,
        "opening": opening,
        "prefill": prefill,
        "decode": decode,
        "batch": batch,
        "memory": memory,
    }


def _opened(folder: str | Path, plan: Plan, options: dict[str, Any]) -> tuple[TimedModel, dict[str, Any]]:
    """Open the model and read a short prompt, as for a first token."""
    start = time.perf_counter()
    model = TimedModel(**vars(load(folder, **options)))
    opened = time.perf_counter()
    plan.check_context(model.config.max_position_embeddings)
    length = min(FIRST_PROMPT, model.config.max_position_embeddings)
    model(_ids(model, length), logits="last")
    seconds = time.perf_counter() - start
    return model, {"open_seconds": opened - start, "first_token_seconds": seconds, "first_prompt_tokens": length}


def _ids(model: Model, count: int) -> NDArray[np.integer]:
    return np.random.default_rng(0).integers(model.config.vocab_size, size=count)


def _threads(model: Model) -> int:
    return kernels.default_threads() if model.threads is None else model.threads


def _percent(rate: float, limit: float | None) -> float | None:
    return None if limit is None else 100 * rate / limit


def _described(model: Model) -> dict[str, Any]:
    compiled = _is_compiled(model)
    return {
        "kernels": "cython" if compiled else "numpy",
        "instruction_set": kernels.instruction_set() if compiled else None,
        "threads": _threads(model),
        "dtype": np.dtype(model.dtype).name,
        "activations": model.activations,
        "dense": "int8" if isinstance(model.weights.unembedding, MXINT8Array) else "bfloat16",
        "cache": model.cache,
    }


def _is_compiled(model: Model) -> bool:
    return bool(kernels.choose(model.kernels, model.dtype, model.threads))


def _prefill(model: Model, lengths: Sequence[int], progress: Callable) -> list[dict[str, Any]]:
    """One prompt a length, after one that makes every weight known to the processor."""
    a_token, a_prompt = multiply_adds(model.weights, model.config)
    warm_up = _ids(model, min(max(lengths, default=1), TOKENS_PER_PIECE))
    model(warm_up, logits="last", progress=progress("warming up"))
    rows = []
    for length in lengths:
        seconds: list[float] = []
        while sum(seconds) < 1 and len(seconds) < RUNS:
            start = time.perf_counter()
            model(_ids(model, length), logits="last", progress=progress(f"a prompt of {length} tokens"))
            seconds.append(time.perf_counter() - start)
        rate = 2 * (length * a_token + a_prompt) / median(seconds)
        rows.append(
            {
                "prompt_tokens": length,
                "seconds": median(seconds),
                "tokens_per_second": length / median(seconds),
                "gigaflop_per_second": rate / 1e9,
            }
        )
    return rows


def _batch(model: Model, prompts: int, new_tokens: int, progress: Callable) -> dict[str, Any]:
    """Decode several prompts at once, each with tokens of its own."""
    caches = [model.new_cache() for _ in range(prompts)]
    bar = progress(f"{prompts} prompts at once")
    seconds = []
    for count, row in enumerate(_ids(model, (new_tokens + 1) * prompts).reshape(-1, prompts, 1)):
        start = time.perf_counter()
        model.batch(list(row), caches)
        seconds.append(time.perf_counter() - start)
        if bar:
            bar(count, new_tokens)
    step = median(seconds[1:])
    return {"prompts": prompts, "new_tokens": new_tokens, "seconds_per_step": step, "tokens_per_second": prompts / step}


def _filled(model: Model, depths: Sequence[int], progress: Callable) -> tuple[Cache, list[Snapshot]]:
    """A cache that has seen the deepest text, and its states on the way there."""
    cache, snapshots = model.new_cache(), []
    for depth in sorted(set(depths)):
        ids = _ids(model, depth)[cache.length :]
        if len(ids):
            model(ids, cache, logits="last", progress=progress(f"filling the cache to {depth} tokens"))
        snapshots.append(cache.snapshot())
    return cache, snapshots


def _decode(model: TimedModel, cache: Cache, snapshot: Snapshot, new_tokens: int, progress: Callable) -> dict[str, Any]:
    """Decode from one depth on; the first token is read twice, and counts the second time."""
    bar = progress(f"decoding at depth {snapshot.length}")
    ids = _ids(model, new_tokens)
    cache.restore(snapshot)
    model(ids[:1], cache, logits="last")
    cache.restore(snapshot)
    seconds, outside = [], []
    for count, token in enumerate(ids, 1):
        start, in_kernels = time.perf_counter(), model.clock.seconds
        model([token], cache, logits="last")
        seconds.append(time.perf_counter() - start)
        outside.append(1 - (model.clock.seconds - in_kernels) / seconds[-1])
        if bar:
            bar(count, new_tokens)
    a_token = median(seconds)
    nbytes = parts(model.weights, model.config)["all"].nbytes_read
    nbytes += _bytes_seen(cache, snapshot.length + (new_tokens + 1) // 2)
    return {
        "depth_tokens": snapshot.length,
        "new_tokens": new_tokens,
        "seconds_per_token": a_token,
        "tokens_per_second": 1 / a_token,
        "bytes_per_token": nbytes,
        "gigabytes_per_second": nbytes / a_token / 1e9,
        "share_outside_kernels": median(outside) if _is_compiled(model) else None,
    }


def _bytes_seen(cache: Cache, length: int) -> int:
    """Bytes of the keys and values that the last token of so many attends to."""
    return sum(
        2 * min(length, cache.window(index) or length) * layer.key[:, :1].nbytes
        for index, layer in enumerate(cache.layers)
    )


def _read_rate(model: Model) -> tuple[float, int] | None:
    """Bytes a second that the model's threads read from memory, and from how large a buffer. None without kernels."""
    if kernels.MISSING:
        return None
    room = machine.available_memory() or machine.total_memory() or 4 * BUFFER_BYTES
    buffer = np.ones(min(BUFFER_BYTES, room // 4), np.uint8)
    return len(buffer) / median(kernels.read_seconds(buffer, _threads(model)) for _ in range(READS)), len(buffer)


def _mean_rate(before: tuple[float, int] | None, after: tuple[float, int] | None) -> dict[str, Any]:
    known = before is not None and after is not None
    return {
        "read_gigabytes_per_second": mean([before[0], after[0]]) / 1e9 if known else None,
        "read_before_gigabytes_per_second": before[0] / 1e9 if known else None,
        "read_after_gigabytes_per_second": after[0] / 1e9 if known else None,
        "read_buffer_bytes": min(before[1], after[1]) if known else None,
    }


def _weights_rate(model: Model) -> float | None:
    """Gigabytes a second at which the threads read what a token reads, one large matrix after the other."""
    found = [each for each in _matrices(model) if each.nbytes >= LARGE_BYTES and each.flags.c_contiguous]
    if kernels.MISSING or not found:
        return None
    runs = [
        sum(kernels.read_seconds(each.reshape(-1).view(np.uint8), _threads(model)) for each in found)
        for _ in range(READS)
    ]
    return sum(each.nbytes for each in found) / median(runs) / 1e9


def _matrices(model: Model) -> Iterator[NDArray]:
    """The stored numbers of the matrices that a token needs, without scales; of the experts, the first few."""
    weights = [model.weights.unembedding]
    for layer in model.weights.layers:
        attention, experts = layer.attention, layer.experts
        weights += [each.weight for each in (attention.query, attention.key, attention.value, attention.output)]
        for index in range(model.config.num_experts_per_tok):
            weights += [experts.gate_up[index], experts.down[index]]
    for weight in weights:
        yield next((getattr(weight, name) for name in ("bits", "blocks", "integers") if hasattr(weight, name)), weight)


def _memory(folder: Path) -> dict[str, Any]:
    mapped = machine.mapped_pages(folder.glob("*.safetensors"))
    return {"own_bytes": machine.own_memory(), "mapped": mapped and mapped._asdict()}
