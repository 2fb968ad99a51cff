"""What `minioss diagnose` finds on ports whose mistake is known: `python -m tests.benchmarks.diagnosis PART … > lines`.

Prints a line of JSON for each port. `python -m tests.benchmarks.diagnosis table lines …` makes the tables of them.

Every checkpoint is new: random weights by seed, shapes by seed. A port is the model itself in another precision, with a
mistake switched on. Seeds below 200 served to find the rules and to mend them; the reported figures are of seeds from 200 on,
of dithered right ports from 333 on.
Prompts go through in pieces of 24 tokens, so that mistakes in the cache show.
"""

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from unittest import mock

import numpy as np

import minioss
from minioss import kernels, prompts
from minioss.config import FULL, SLIDING
from minioss.verify import reference, rounding
from minioss.verify.diagnosis import evidence
from minioss.verify.diagnosis.findings import Findings, examine
from minioss.verify.diagnosis.telling import answer
from minioss.verify.faults import CATALOGUE
from tests.benchmarks.unlisted import UNLISTED
from tests.faulty import edge_model, visible_config, zero_some
from tests.models import change_bytes, nmse

AT_THE_EDGE = ("mxfp4-scale-zero-as-zero", "mxfp4-subnormals-flushed")
TOKENS_PER_PIECE = 24
SMALLEST = 1e-10  # effect of a mistake that is to be found beside another
TOKENS, RIGHT_TOKENS, TRACED_TOKENS, EDGE_TOKENS = 280, 128, 48, 40


@contextmanager
def dithered():
    """bfloat16 that rounds up or down by chance: noise that has nothing in common with that of the known codes."""
    random = np.random.default_rng(0)

    def rounded(x):
        return to_bfloat16((x * (1 + random.uniform(-(2.0**-9), 2.0**-9, x.shape))).astype(np.float32))

    to_bfloat16 = rounding.r
    with mock.patch.object(rounding, "r", rounded), rounding.official():
        yield


# How a port computes: changes to the model, and a `with`.
PORTS = {
    "float32": ({}, nullcontext),
    "float32, angles too": ({}, rounding.float32_angles),
    "bfloat16, official": ({}, rounding.official),
    "bfloat16, transformers": ({}, rounding.transformers),
    "bfloat16, dithered": ({}, dithered),
    "bfloat16, products": ({"activations": "bfloat16"}, nullcontext),
    "int8, products": ({"activations": "int8"}, nullcontext),
}


def checkpoint(seed: int) -> minioss.Model:
    """Random weights and a shape of its own for each seed; every mistake but those at the edge shows on it."""
    random = np.random.default_rng(seed)
    types = [(FULL, SLIDING, SLIDING), (SLIDING, SLIDING, FULL), (FULL, SLIDING, FULL)]
    config = visible_config(
        hidden_size=int(random.choice([32, 64, 96])),
        intermediate_size=int(random.choice([32, 64])),
        layer_types=types[random.integers(3)],
        swiglu_limit=float(random.choice([1.5, 2.0, 3.0])),
        num_local_experts=int(random.choice([4, 8])),
        sliding_window=int(random.choice([6, 8, 12])),
    )
    folder = Path(tempfile.mkdtemp()) / "model"
    minioss.synthesize(folder, config, seed=seed)
    for layer in range(config.num_hidden_layers):
        for part in ("gate_up", "down"):
            change_bytes(folder, f"model.layers.{layer}.mlp.experts.{part}_proj_scales", zero_some)
    return minioss.load(folder, dtype="float64")


def run_port(
    model: minioss.Model, ids: np.ndarray, kind: str, mistakes=(), wanted=("logits",)
) -> dict[str, np.ndarray]:
    """What a port computes: of each mistake, its name in the catalogue or a ``with``."""
    changes, rounded = PORTS[kind]
    model = dataclasses.replace(model, dtype="float32", kernels="numpy", **changes)
    with ExitStack() as stack:
        stack.enter_context(rounded())
        for each in mistakes:
            stack.enter_context(minioss.fault(each) if isinstance(each, str) else kernels.wrapping(each))
        return minioss.trace(model, ids, wanted)


@contextmanager
def remembered() -> Iterator[None]:
    """What the reference predicts of logits does not depend on the port: compute it once a checkpoint."""
    compute, known = reference.Reference.predicted, {}

    def predicted(port, mistakes, rung=None):
        if port.names != ["logits"]:
            return compute(port, mistakes, rung)
        key = id(port.model.weights), port.theirs["tokens"].tobytes(), mistakes, id(rung)
        if key not in known:
            known[key] = port.model.weights, compute(port, mistakes, rung)
        return known[key][1]

    with mock.patch.object(reference.Reference, "predicted", predicted):
        yield


def outcome(found: Findings, truth: tuple[str, ...]) -> str:
    """What became of a port whose mistakes are known."""
    names = {tuple(sorted(each)) for each in found.explanations}
    if names == {tuple(sorted(truth))}:
        return "named" if truth else "right"
    if tuple(sorted(truth)) in names:
        return "one of several"
    if names == {()}:
        return "overlooked"
    return "wrong name" if names else "unknown"


def singles(seed: int, kinds: list[str], wanted: tuple[str, ...], tokens: int, names=tuple(CATALOGUE)) -> None:
    """Each mistake of the catalogue by itself, and none."""
    plain = checkpoint(seed)
    for model, chosen in ((plain, [n for n in names if n not in AT_THE_EDGE]), (edge_model(plain), AT_THE_EDGE)):
        ids = np.random.default_rng(seed).integers(
            0, model.config.vocab_size, tokens if model is plain else EDGE_TOKENS
        )
        port = evidence.port(model, {"tokens": ids, "logits": model(ids)})
        right = port.exact["logits"]
        effects = {name: nmse(port.predicted((name,))["logits"], right) for name in chosen}
        for kind in kinds:
            noise = nmse(run_port(model, ids, kind)["logits"], right)
            for name, effect in effects.items():
                diagnose(
                    seed, model, run_port(model, ids, kind, [name], wanted), kind, (name,), effect=effect, noise=noise
                )


def diagnose(seed: int, model: minioss.Model, theirs: dict, kind: str, truth: tuple[str, ...], **more) -> None:
    start = time.process_time()
    found = examine(evidence.port(model, theirs))
    took = time.process_time() - start
    support = None if found.support is None else [round(float(x), 4) for x in found.support]
    arrays = "logits" if len(theirs) == 2 else "traces"
    record = (
        {"seed": seed, "port": kind, "arrays": arrays, "truth": truth, "outcome": outcome(found, truth)}
        | {"found": found.explanations[:4], "block": found.block, "precision": found.precision, "support": support}
        | {"alike": round(found.alike, 2), "runner_up": found.runner_up, "seconds": round(took, 1)}
        | more
    )
    print(json.dumps(record), flush=True)


def right_ports(seed: int, kinds: list[str], wanted: tuple[str, ...], tokens: int) -> None:
    """Ports without any mistake."""
    model = checkpoint(seed)
    ids = np.random.default_rng(seed).integers(0, model.config.vocab_size, tokens)
    for kind in kinds:
        diagnose(seed, model, run_port(model, ids, kind, (), wanted), kind, ())


def pairs(seed: int, count: int, wanted: tuple[str, ...], tokens: int) -> None:
    """Two mistakes of different blocks at once, in float32."""
    model, random = checkpoint(seed), np.random.default_rng(seed + 1)
    ids = np.random.default_rng(seed).integers(0, model.config.vocab_size, tokens)
    right = evidence.port(model, {"tokens": ids, "logits": model(ids)})
    names = [name for name in CATALOGUE if nmse(right.predicted((name,))["logits"], right.exact["logits"]) > SMALLEST]
    for _ in range(count):
        one, other = random.choice(names, 2, replace=False)
        while CATALOGUE[one].block == CATALOGUE[other].block:
            one, other = random.choice(names, 2, replace=False)
        truth = str(one), str(other)
        diagnose(seed, model, run_port(model, ids, "float32", truth, wanted), "float32", truth)


def unlisted(seed: int, kinds: list[str], wanted: tuple[str, ...], tokens: int) -> None:
    """Mistakes that the catalogue does not have."""
    model = checkpoint(seed)
    ids = np.random.default_rng(seed).integers(0, model.config.vocab_size, tokens)
    right = model(ids)
    for kind in kinds:
        for name, (block, wrappers) in UNLISTED.items():
            theirs = run_port(model, ids, kind, [wrappers], wanted)
            diagnose(seed, model, theirs, kind, (name,), where=block, effect=nmse(theirs["logits"], right))


SHARE = 3  # of the catalogue on each checkpoint, where traces are long to compare
LOGITS, ALL = ("logits",), ("*",)
PARTS = {
    "logits": lambda seed, kinds: singles(seed, kinds, LOGITS, TOKENS),
    "traces": lambda seed, kinds: singles(seed, kinds, ALL, TRACED_TOKENS, tuple(CATALOGUE)[seed % SHARE :: SHARE]),
    "pairs-logits": lambda seed, kinds: pairs(seed, 10, LOGITS, TRACED_TOKENS),
    "pairs-traces": lambda seed, kinds: pairs(seed, 10, ALL, TRACED_TOKENS),
    "right-logits": lambda seed, kinds: right_ports(seed, kinds, LOGITS, RIGHT_TOKENS),
    "right-traces": lambda seed, kinds: right_ports(seed, kinds, ALL, TRACED_TOKENS),
    "unlisted-logits": lambda seed, kinds: unlisted(seed, kinds, LOGITS, TOKENS),
    "unlisted-traces": lambda seed, kinds: unlisted(seed, kinds, ALL, TRACED_TOKENS),
}


OUTCOMES = ("named", "one of several", "right", "unknown", "overlooked", "wrong name")


def table(paths: list[str]) -> Iterator[str]:
    """What became of all ports whose mistake is visible, by what was given of them and how they computed."""
    counts: dict[tuple[str, ...], Counter] = defaultdict(Counter)
    for record in records(paths):
        what = ("no mistake", "one mistake", "two mistakes")[len(record["truth"])]
        what = "an unlisted mistake" if "where" in record else what
        counts[what, record["arrays"], record["port"]][record["outcome"] if visible(record) else "not visible"] += 1
    yield f"| mistake | given | port | ports | {' | '.join(OUTCOMES)} |"
    yield "|---" * (4 + len(OUTCOMES)) + "|"
    for what, found in sorted(counts.items()):
        numbers = [sum(found.values()) - found["not visible"], *(found[each] for each in OUTCOMES)]
        yield f"| {' | '.join(what)} | {' | '.join(map(str, numbers))} |"


def answers(paths: list[str]) -> Iterator[str]:
    """How often each kind of answer was given, and was true; "right" of no port whose mistake is not visible."""
    given: Counter = Counter()
    true: Counter = Counter()
    for record in records(paths):
        found = Findings(record["precision"], record["found"], None, None, None, {}, record["alike"])
        if visible(record) or any(record["found"]):
            given[answer(found)] += 1
            true[answer(found)] += record["outcome"] not in ("overlooked", "wrong name")
    yield "| answer | given | true | confidence |"
    yield "|---|---|---|---|"
    for each, count in sorted(given.items()):
        yield f"| {each} | {count} | {true[each]} | {(true[each] + 1) / (count + 2):.3f} |"


def records(paths: list[str]) -> Iterator[dict]:
    for path in paths:
        yield from map(json.loads, Path(path).read_text().splitlines())


def visible(record: dict) -> bool:
    """Whether a mistake's effect is above the noise of float32, or a tenth of that of what is coarser."""
    share = 1 if record["port"].startswith("float32") else 0.1
    return "noise" not in record or record["effect"] > share * record["noise"]


def main() -> None:
    if sys.argv[1:2] == ["table"]:
        print("\n".join([*table(sys.argv[2:]), "", *answers(sys.argv[2:])]))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[100])
    parser.add_argument("--ports", nargs="+", choices=PORTS, default=list(PORTS))
    options = parser.parse_args()
    with mock.patch.object(prompts, "TOKENS_PER_PIECE", TOKENS_PER_PIECE):
        for seed in options.seeds:
            with remembered():
                for part in options.parts:
                    PARTS[part](seed, options.ports)


if __name__ == "__main__":
    main()
