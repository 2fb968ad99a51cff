"""``minioss info``: what is in a model folder, and whether this machine can hold it."""

import argparse
import math
from collections import Counter
from pathlib import Path

from minioss import kernels, machine
from minioss.checkpoint.checking import find_not_finite
from minioss.checkpoint.loading import Checkpoint, open_checkpoint
from minioss.cli.progress import ProgressBar
from minioss.config import FULL, Config
from minioss.errors import InputError, NotFiniteError
from minioss.mxfp4 import BLOCK, BYTES_PER_BLOCK
from minioss.text.tokenizer import load_tokenizer

PARTS = ("embedding", "attention", "router", "experts", "norms", "unembedding")


def add_to(commands: argparse._SubParsersAction) -> None:
    """Define the command's arguments."""
    parser = commands.add_parser("info", help="shape, layout, bytes by part, what will fit")
    parser.add_argument("folder", metavar="FOLDER", help="the model folder")
    parser.add_argument("--check", action="store_true", help="read every tensor and look for NaN and infinity")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the facts; with --check also read every number."""
    checkpoint = open_checkpoint(options.folder)
    for name, value in _shape(checkpoint) + _runs_with(checkpoint):
        print(f"{name:11} {value}")
    print()
    _print_bytes(checkpoint)
    print()
    for name, value in _what_fits(checkpoint):
        print(f"{name:11} {value}")
    return _check(checkpoint) if options.check else 0


def _shape(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    config, rope = checkpoint.config, checkpoint.config.rope
    sliding = len(config.layer_types) - config.layer_types.count(FULL)
    stretched = f", stretched {rope.factor:g} times from {rope.original_max_position_embeddings} tokens"
    truncated = ", ramp rounded" if rope.truncate else ""
    return [
        ("folder", str(checkpoint.folder)),
        (
            "layout",
            f"{checkpoint.layout}, {'MXFP4' if checkpoint.mxfp4 else 'dense'} experts, {len(checkpoint.shards.files)} file(s)",
        ),
        (
            "model",
            f"{config.num_hidden_layers} layers, hidden size {config.hidden_size}, vocabulary {config.vocab_size}",
        ),
        (
            "attention",
            f"{config.num_attention_heads} query heads on {config.num_key_value_heads} key/value heads of {config.head_dim}",
        ),
        (
            "layers",
            f"{sliding} see a window of {config.sliding_window} tokens, {len(config.layer_types) - sliding} see all",
        ),
        (
            "positions",
            f"RoPE of base {rope.rope_theta:g}"
            + (f"{stretched}{truncated} (YaRN)" if rope.rope_type == "yarn" else ""),
        ),
        ("context", f"{config.max_position_embeddings} tokens"),
        (
            "experts",
            f"{config.num_local_experts} a layer, {config.num_experts_per_tok} active, intermediate size {config.intermediate_size}",
        ),
    ]


def _runs_with(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    try:
        tokenizer = f"{load_tokenizer(checkpoint.folder, checkpoint.config.vocab_size).n_vocab} tokens"
    except InputError as error:
        tokenizer = f"missing: {error}"
    if kernels.MISSING:
        built = f"NumPy alone: {kernels.MISSING}"
    else:
        built = f"Cython with {kernels.instruction_set()}, {kernels.default_threads()} thread(s), for {', '.join(kernels.CYTHON)}"
    return [("tokenizer", tokenizer), ("kernels", built)]


def _print_bytes(checkpoint: Checkpoint) -> None:
    stored, read, count, active = bytes_by_part(checkpoint)
    print(f"{'part':11} {'parameters':>12} {'bytes':>10} {'a token reads':>14}")
    for part in PARTS:
        print(f"{part:11} {_count(count[part]):>12} {_size(stored[part]):>10} {_size(read[part]):>14}")
    total = [sum(column.values()) for column in (count, stored, read)]
    print(f"{'all':11} {_count(total[0]):>12} {_size(total[1]):>10} {_size(total[2]):>14}")
    print(f"{_count(sum(active.values()))} parameters are active for a token, the embedding's one row included")


def bytes_by_part(checkpoint: Checkpoint) -> tuple[Counter, Counter, Counter, Counter]:
    """By part: bytes stored, bytes that a decoded token reads, parameters, parameters active for a token."""
    config = checkpoint.config
    stored, read, count, active = Counter(), Counter(), Counter(), Counter()
    for tensor in checkpoint.tensors.values():
        part = _part_of(tensor.part)
        entry = checkpoint.shards.entry(tensor.name)
        share = {"embedding": 1 / config.vocab_size, "experts": config.num_experts_per_tok / config.num_local_experts}
        numbers = _numbers_in(tensor.part, tensor.shape)
        stored[part] += entry.stop - entry.start
        read[part] += round((entry.stop - entry.start) * share.get(part, 1))
        count[part] += numbers
        active[part] += round(numbers * share.get(part, 1))
    return stored, read, count, active


def _part_of(part: str) -> str:
    if part in ("norm", "attention_norm", "experts_norm"):
        return "norms"
    if part.startswith(("gate_up", "down")):
        return "experts"
    return part.split(".")[0] if part.startswith(("embedding", "unembedding", "router")) else "attention"


def _numbers_in(part: str, shape: tuple[int, ...]) -> int:
    if part.endswith(".scales"):
        return 0
    return math.prod(shape) * (BLOCK // BYTES_PER_BLOCK if part.endswith(".blocks") else 1)


def _what_fits(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    a_token, windows = cache_bytes(checkpoint.config)
    context = checkpoint.config.max_position_embeddings
    whole = a_token * context + windows
    lines = [
        (
            "cache",
            f"{_size(a_token)} a token and {_size(windows)} for the windows; {_size(whole)} for {context} tokens (float32)",
        )
    ]
    total = machine.total_memory()
    if total is None:
        return lines
    weights = sum(bytes_by_part(checkpoint)[0].values())
    if weights > total:
        verdict = f"the weights ({_size(weights)}) do not fit and are read from disk again for each token"
    else:
        left = max(0, min(context, (total - weights - windows) // max(a_token, 1)))
        verdict = f"the weights ({_size(weights)}) fit, with room for {left} tokens of cache"
    return [*lines, ("memory", f"{_size(total)}: {verdict}")]


def cache_bytes(config: Config) -> tuple[int, int]:
    """Bytes of float32 keys and values: of the full layers a token, and of all windows together."""
    a_layer = 2 * 4 * config.num_key_value_heads * config.head_dim
    full = config.layer_types.count(FULL)
    return a_layer * full, a_layer * config.sliding_window * (config.num_hidden_layers - full)


def _check(checkpoint: Checkpoint) -> int:
    print()
    faults = list(find_not_finite(checkpoint, ProgressBar("reading every tensor")))
    for fault in faults:
        print(fault)
    if faults:
        raise NotFiniteError(f"{len(faults)} tensor(s) of {Path(checkpoint.folder)} hold numbers that are none")
    print("check       every number is finite")
    return 0


def _size(count: int) -> str:
    return _scaled(count, "B", ("", "k", "M", "G", "T"))


def _count(count: int) -> str:
    return _scaled(count, "", ("", "k", "M", "G", "T"))


def _scaled(count: float, unit: str, prefixes: tuple[str, ...]) -> str:
    for prefix in prefixes:
        if count < 1000 or prefix == prefixes[-1]:
            return f"{count:.2f} {prefix}{unit}".rstrip() if prefix else f"{count:.0f} {unit}".rstrip()
        count /= 1000
    raise AssertionError
