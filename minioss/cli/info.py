"""``minioss info``: what is in a model folder, and whether this machine can hold it."""

import argparse
from pathlib import Path

import numpy as np

from minioss import kernels, machine
from minioss.checkpoint.checking import find_not_finite
from minioss.checkpoint.loading import Checkpoint, open_checkpoint, read_weights
from minioss.cli.progress import ProgressBar
from minioss.cli.units import pages, scaled, size
from minioss.config import FULL, Config
from minioss.errors import InputError, NotFiniteError
from minioss.linear import decode
from minioss.parts import Part, parts
from minioss.text.tokenizer import load_tokenizer
from minioss.transformer import Weights


def add_to(commands: argparse._SubParsersAction) -> None:
    """Define the command's arguments."""
    parser = commands.add_parser("info", help="shape, layout, bytes by part, what will fit")
    parser.add_argument("folder", metavar="FOLDER", help="the model folder")
    parser.add_argument("--check", action="store_true", help="read every tensor and look for NaN and infinity")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the facts; with --check also read every number."""
    checkpoint = open_checkpoint(options.folder)
    weights = read_weights(checkpoint)
    found = parts(weights, checkpoint.config)
    for name, value in _shape(checkpoint) + _runs_with(checkpoint):
        print(f"{name:11} {value}")
    print()
    _print_parts(found)
    print()
    for name, value in [*_what_fits(checkpoint.config, found["all"].nbytes), *_pages(checkpoint, weights)]:
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
        built = f"Cython with {kernels.instruction_set()}, {kernels.default_threads()} thread(s)"
    return [("tokenizer", tokenizer), ("kernels", built), *_products()]


def _products() -> list[tuple[str, str]]:
    """For each type of activations, what multiplies the many tokens of a prompt."""
    names = kernels.products()
    lines = []
    for rung, name in names.items():
        rounded = rung != "float32" and name == names["float32"]
        what = "as float32, after rounding" if rounded else name
        lines.append(("" if lines else "prompts", f"{rung} activations: {what}"))
    return lines


def _print_parts(found: dict[str, Part]) -> None:
    print(f"{'part':11} {'parameters':>12} {'bytes':>10} {'a token reads':>14}")
    for name, part in found.items():
        print(f"{name:11} {scaled(part.parameters):>12} {size(part.nbytes):>10} {size(part.nbytes_read):>14}")
    print(f"{scaled(found['all'].active)} parameters are active for a token, the embedding's one row included")


def _what_fits(config: Config, weights: int) -> list[tuple[str, str]]:
    a_token, windows = cache_bytes(config)
    context = config.max_position_embeddings
    whole = a_token * context + windows
    lines = [
        (
            "cache",
            f"{size(a_token)} a token and {size(windows)} for the windows; {size(whole)} for {context} tokens (float32)",
        )
    ]
    total = machine.total_memory()
    if total is None:
        return lines
    if weights > total:
        verdict = f"the weights ({size(weights)}) do not fit and are read from disk again for each token"
    else:
        left = max(0, min(context, (total - weights - windows) // max(a_token, 1)))
        verdict = f"the weights ({size(weights)}) fit, with room for {left} tokens of cache"
    return [*lines, ("memory", f"{size(total)}: {verdict}")]


def _pages(checkpoint: Checkpoint, weights: Weights) -> list[tuple[str, str]]:
    """The pages that the weights are mapped in, known once a little is read: of each layer, a row of an expert."""
    for layer in weights.layers:
        decode(layer.experts.gate_up[0, :1], np.float32)
    return [("pages", pages(machine.mapped_pages(checkpoint.shards.paths)))]


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
