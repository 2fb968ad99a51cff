"""``minioss bench``: how fast a model runs on this machine."""

import argparse
import json
from collections.abc import Iterable, Sequence
from typing import Any

from minioss.bench import Plan, measure
from minioss.cli.options import add_model_options, model_options
from minioss.cli.progress import ProgressBar
from minioss.cli.units import pages, size
from minioss.machine import MappedPages


def add_to(commands: argparse._SubParsersAction) -> None:
    """Define the command's arguments."""
    parser = commands.add_parser("bench", help="how fast a model runs on this machine, and what bounds it")
    parser.add_argument("folder", metavar="FOLDER", help="the model folder; it needs no tokenizer")
    lists = {"type": _numbers, "action": "extend", "metavar": "N[,N…]"}
    parser.add_argument("--prompt-tokens", help="lengths of the prompts (512); may be repeated", **lists)
    parser.add_argument("--depths", help="tokens in the cache when decoding starts (0); may be repeated", **lists)
    parser.add_argument("--new-tokens", type=int, default=64, metavar="N", help="tokens to decode at each depth (64)")
    parser.add_argument("--batch", type=int, metavar="N", help="also decode N prompts at once")
    parser.add_argument("--json", action="store_true", help="JSON, with the keys of minioss.bench.measure")
    add_model_options(parser)
    parser.set_defaults(run=run)


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of integers like 0,2048") from None


def run(options: argparse.Namespace) -> int:
    """Measure and print."""
    plan = Plan(options.prompt_tokens or (512,), options.depths or (0,), options.new_tokens, options.batch)
    result = {"folder": options.folder, **measure(options.folder, plan, ProgressBar, **model_options(options))}
    if options.json:
        print(json.dumps(result, indent=2))
        return 0
    for name, value in _facts(**result):
        print(f"{name:11} {value}")
    print()
    _print_table(_speeds(result["prefill"], result["decode"], result["batch"]))
    return 0


def _facts(folder: str, model: dict, machine: dict, opening: dict, memory: dict, **_: Any) -> list[tuple[str, str]]:
    compiled = model["kernels"] == "cython"
    opened, first = opening["open_seconds"], opening["first_token_seconds"]
    own, peak, mapped = memory["own_bytes"], memory["peak_bytes"], memory["mapped"]
    lines = [
        ("folder", folder),
        ("kernels", f"Cython with {model['instruction_set']}, {model['threads']} thread(s)" if compiled else "NumPy"),
        (
            "numbers",
            f"dtype {model['dtype']}, activations {model['activations']}, dense {model['dense']}, cache {model['cache']}",
        ),
        *_limits(machine, model["threads"]),
        ("opening", f"{opened:.3f} s; {first:.3f} s to the token after {opening['first_prompt_tokens']}"),
    ]
    if own is not None and peak is not None:
        lines.append(("memory", f"{size(own)} beyond mapped files; at most {size(peak)}, mapped files included"))
    return [*lines, ("pages", pages(mapped and MappedPages(**mapped)))]


def _limits(machine: dict, threads: int) -> list[tuple[str, str]]:
    read, peak = machine["read_gigabytes_per_second"], machine["peak_gigaops_per_second"]
    if read is None or peak is None:
        return [("machine", "its limits are not measured: the extension is not built")]
    before, after = machine["read_before_gigabytes_per_second"], machine["read_after_gigabytes_per_second"]
    buffer, weights = size(machine["read_buffer_bytes"]), machine["weights_gigabytes_per_second"]
    return [
        ("machine", f"{threads} thread(s) read {read:.1f} GB/s: {before:.1f} before, {after:.1f} after, from {buffer}"),
        *([("", f"and the weights of a token where they lie at {weights:.1f} GB/s")] if weights else []),
        ("", f"and multiply at {peak:.0f} GFLOP/s: {machine['product']}"),
    ]


def _speeds(prefill: list[dict], decode: list[dict], batch: dict | None) -> list[Sequence[str]]:
    rows = [("", "tokens/s", "rate", "of the limit", "outside kernels")]
    for row in prefill:
        rate, share = f"{row['gigaflop_per_second']:.1f} GFLOP/s", _percent(row["peak_percent"])
        rows.append((f"prompt of {row['prompt_tokens']}", f"{row['tokens_per_second']:.2f}", rate, share, ""))
    for row in decode:
        rate, share = f"{row['gigabytes_per_second']:.1f} GB/s", _percent(row["read_percent"])
        outside = row["share_outside_kernels"]
        outside = "all" if outside is None else _percent(100 * outside)
        rows.append((f"text at depth {row['depth_tokens']}", f"{row['tokens_per_second']:.2f}", rate, share, outside))
    if batch:
        rows.append((f"{batch['prompts']} texts at once", f"{batch['tokens_per_second']:.2f}", "", "", ""))
    return rows


def _percent(percent: float | None) -> str:
    return "not measured" if percent is None else f"{percent:.1f} %"


def _print_table(rows: Iterable[Sequence[str]]) -> None:
    for name, *cells in rows:
        print(f"{name:21} {cells[0]:>9} {cells[1]:>15} {cells[2]:>13} {cells[3]:>16}".rstrip())
