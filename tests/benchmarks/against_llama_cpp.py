"""How fast are minioss and llama.cpp on the same weights, on this machine, in turn?

Machines drift: neighbours come and go, clocks change. So the two take turns (A B A B …), each turn in
a process of its own, and each measures the memory's speed too. The first reading of a turn is not
counted: it brings the weights into memory, which does not hold two large models at once.
"""

import argparse
import json
import os
import random
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.engines import Engine, LlamaCpp, Minioss

ENGINES = ("llama.cpp", "minioss")
BUFFER_BYTES = 2**30
READS = 5


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.against_llama_cpp", description=__doc__)
    parser.add_argument("folder", metavar="FOLDER", help="the model folder, for minioss")
    parser.add_argument("gguf", metavar="GGUF", help="the same weights for llama.cpp, as `minioss gguf` writes them")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), metavar="N", help="of each engine (all)")
    parser.add_argument("--turns", type=int, default=3, metavar="N", help="of each engine (3)")
    parser.add_argument("--prompt-tokens", type=int, default=512, metavar="N", help="length of the prompt (512)")
    parser.add_argument("--new-tokens", type=int, default=64, metavar="N", help="tokens to decode (64)")
    parser.add_argument("--depth", type=int, default=1024, metavar="N", help="decode after N tokens too (1024)")
    parser.add_argument(
        "--llama", choices=("repacked", "mapped"), default="repacked", help="how llama.cpp holds weights (repacked)"
    )
    parser.add_argument(
        "--minioss", nargs="*", default=[], metavar="NAME=VALUE", help="keywords of minioss.load, such as dtype=float64"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to FILE")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), str(options.threads))
    turns = []
    for number in range(1, options.turns + 1):
        for name in ENGINES:
            # A fresh process each time, so that one engine's memory is gone when the other runs.
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                about, figures = pool.submit(turn, name, options).result()
            turns.append({"engine": name, "about": about, "figures": figures})
            shown = ", ".join(f"{what} {figure:.2f}" for what, figure in figures.items())
            print(f"turn {number}, {name}: {shown}", flush=True)
    print(table(turns))
    if options.json:
        content = {"options": vars(options) | {"json": str(options.json)}, "turns": turns}
        options.json.write_text(json.dumps(content, indent=2) + "\n")


def turn(name: str, options: argparse.Namespace) -> tuple[str, dict[str, float]]:
    """What one engine runs on, and its figures: tokens a second, and GB a second of the memory."""
    bandwidth = read_bandwidth(options.threads)
    engine = make(name, options)
    chance = random.Random(0)

    def ids(count: int) -> list[int]:
        return [chance.randrange(engine.vocab_size) for _ in range(count)]

    def decode(depth: int) -> float:
        engine.forget()
        engine.read(ids(depth + 1))
        # Chosen beforehand: both engines read the same ids, and nothing ends the text.
        return options.new_tokens / seconds(lambda: [engine.read([token]) for token in ids(options.new_tokens)])

    engine.read(ids(options.prompt_tokens))
    decode(0)
    engine.forget()
    figures = {
        f"prompt of {options.prompt_tokens}": options.prompt_tokens / seconds(engine.read, ids(options.prompt_tokens))
    }
    figures |= {f"decode at {depth}": decode(depth) for depth in sorted({0, options.depth})}
    return engine.about, figures | {"memory GB/s": bandwidth}


def make(name: str, options: argparse.Namespace) -> Engine:
    if name == "minioss":
        return Minioss(options.folder, options.threads, **dict(map(keyword, options.minioss)))
    length = max(options.depth + 1 + options.new_tokens, options.prompt_tokens)
    return LlamaCpp(options.gguf, options.threads, length, options.llama == "repacked")


def keyword(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    return name, int(value) if value.isdigit() else value


def seconds(call: Callable, *arguments: Any) -> float:
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


def read_bandwidth(threads: int) -> float:
    """GB a second that all threads together read from memory: the best of a few readings."""
    parts = np.array_split(np.ones(BUFFER_BYTES // 8, np.int64), threads)
    with ThreadPoolExecutor(threads) as pool:
        return BUFFER_BYTES / 1e9 / min(seconds(lambda: list(pool.map(np.sum, parts))) for _ in range(READS))


def table(turns: list[dict[str, Any]]) -> str:
    lines = [f"{'':16}{ENGINES[0]:>27}{ENGINES[1]:>27}{'ratio':>8}"]
    for what in turns[0]["figures"]:
        found = [[turn["figures"][what] for turn in turns if turn["engine"] == name] for name in ENGINES]
        cells = [f"{statistics.median(row):.2f} ({min(row):.2f} to {max(row):.2f})" for row in found]
        ratio = statistics.median(found[1]) / statistics.median(found[0])
        lines.append(f"{what:16}{cells[0]:>27}{cells[1]:>27}{ratio:>8.2f}")
    about = {turn["engine"]: turn["about"] for turn in turns}
    return "\n".join(["", "medians, with the smallest and largest", *lines, "", *map(": ".join, about.items())])


if __name__ == "__main__":
    main()
