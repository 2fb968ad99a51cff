"""``minioss verify``: is a port right?"""

import argparse
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minioss.checkpoint.loading import load
from minioss.cli.trace import read_ids
from minioss.config import Config
from minioss.errors import InputError
from minioss.verify.against import drawn, transformers_trace
from minioss.verify.comparing import Comparison, compare
from minioss.verify.files import read_trace
from minioss.verify.judging import Figure
from minioss.verify.rounding import PRECISIONS
from minioss.verify.verdict import EXIT


def add_to(commands: argparse._SubParsersAction) -> None:
    """Define the command's arguments."""
    parser = commands.add_parser("verify", help="whether a port is right: exit code 0 right, 1 wrong, 2 cannot say")
    parser.add_argument("folder", metavar="FOLDER", help="the model folder")
    parser.add_argument("theirs", nargs="?", metavar="THEIRS", help="the port's trace: .npz or .safetensors")
    parser.add_argument(
        "--against", choices=("transformers",), help="run this on the folder instead of reading a trace"
    )
    parser.add_argument("--tokens", metavar="FILE", help="a JSON list of the token ids that the port is to have read")
    parser.add_argument("--precision", choices=PRECISIONS, help="the port's; found, unless you say")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare, and say what was found."""
    if (options.theirs is None) == (options.against is None):
        raise InputError("expected a trace or --against, one of them")
    model = load(options.folder, dtype="float64")
    found = compare(model, their_arrays(options, model.config), options.precision)
    if options.json:
        print(json.dumps(as_json(found)))
    else:
        print("\n".join(report(found)))
    return EXIT[found.verdict.verdict]


def their_arrays(options: argparse.Namespace, config: Config) -> Mapping[str, NDArray]:
    """What the port computed: read, or run here."""
    ids = None if options.tokens is None else np.array(read_ids(Path(options.tokens)))
    if options.against:
        return transformers_trace(options.folder, drawn(config) if ids is None else ids)
    theirs = read_trace(options.theirs, config)
    if ids is not None:
        check_tokens(theirs["tokens"], ids, options)
    return theirs


def check_tokens(found: NDArray, expected: NDArray, options: argparse.Namespace) -> None:
    """Whether the port read the tokens that it should have read."""
    if len(found) != len(expected):
        raise InputError(f"{options.theirs} has {len(found)} tokens; {options.tokens} has {len(expected)}")
    for place in np.flatnonzero(found != expected):
        raise InputError(
            f"token {place} in {options.theirs} is {found[place]}; in {options.tokens} it is {expected[place]}"
        )


def as_json(found: Comparison) -> dict[str, Any]:
    """The verdict's fields, and then the rest."""
    rest = {name: value for name, value in vars(found).items() if name not in ("verdict", "figures", "logits")}
    logits = found.logits and found.logits._asdict()
    figures = [
        {name: None if value in (math.inf, -math.inf) else value for name, value in figure._asdict().items()}
        for figure in found.figures
    ]
    return found.verdict._asdict() | rest | {"logits": logits, "figures": figures}


def report(found: Comparison) -> Iterator[str]:
    """The lines for people: the answer, the reasons, and a row for each part of the model."""
    where = f", first in {found.verdict.block}" if found.verdict.block else ""
    yield f"verdict     {found.verdict.verdict}{where}"
    for reason in found.verdict.reasons:
        yield f"            {reason}"
    yield f"precision   {found.precision}"
    yield f"tokens      {found.tokens}" + (f", the first {found.judged} judged" if found.judged < found.tokens else "")
    if found.logits:
        kl, top_1, top_10 = found.logits
        yield f"logits      KL {kl:.1e}; {top_1:.1%} of the most probable tokens agree, {top_10:.1%} of the first ten"
    yield ""
    yield f"{'the worst array of each block':34}   largest      NMSE    cosine     noise  of the limit"
    worst: dict[str, Figure] = {}
    for figure in found.figures:
        if figure.block not in worst or figure.ratio > worst[figure.block].ratio:
            worst[figure.block] = figure
    yield from map(row, worst.values())


def row(figure: Figure) -> str:
    """An array's figures in columns."""
    nmse, cosine = (
        "" if each is None else f"{each:{form}}" for each, form in ((figure.nmse, ".1e"), (figure.cosine, ".6f"))
    )
    limit = f"{figure.ratio:.0%}" if figure.ratio < 10 else f"{figure.ratio:.1e} times"
    return f"{figure.name:34} {figure.largest:9.1e} {nmse:>9} {cosine:>9} {figure.noise:9.1e}  {limit:>12}"
