"""``minioss diagnose``: what is wrong with a port?"""

import argparse
import json
from collections.abc import Iterator

from minioss.checkpoint.loading import load
from minioss.verify.diagnosis import Diagnosis, diagnose
from minioss.verify.verdict import EXIT


def add_to(commands: argparse._SubParsersAction) -> None:
    """Define the command's arguments."""
    parser = commands.add_parser(
        "diagnose", help="the mistake that a port makes: exit code 0 none, 1 wrong, 2 cannot say"
    )
    parser.add_argument("folder", metavar="FOLDER", help="the model folder")
    parser.add_argument("theirs", metavar="THEIRS", help="the port's trace: .npz or .safetensors")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Diagnose, and say what was found."""
    found = diagnose(load(options.folder, dtype="float64", kernels="numpy"), options.theirs)
    if options.json:
        rest = {name: value for name, value in vars(found).items() if name != "verdict"}
        print(json.dumps(found.verdict._asdict() | rest))
    else:
        print("\n".join(report(found)))
    return EXIT[found.verdict.verdict]


def report(found: Diagnosis) -> Iterator[str]:
    """The lines for people."""
    answer, mistakes, block, confidence, reasons = found.verdict
    where = f", first in {block}" if block else ""
    joint = " or " if found.alternatives else " and "
    what = joint.join(mistakes) if mistakes else "unknown"
    yield f"verdict     {answer}{where}"
    if answer == "wrong":
        yield f"mistake     {what}"
    yield f"confidence  {confidence:g}"
    yield f"precision   {found.precision or 'none explains it'}"
    yield ""
    yield from reasons
