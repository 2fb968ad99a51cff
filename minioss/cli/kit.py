"""``minioss kit``: write the conformance kit, small checkpoints and what must come out of them."""

import argparse
from pathlib import Path

from minioss.cli.progress import ProgressBar
from minioss.verify.kit import write_kit
from minioss.verify.kit_checkpoints import CHECKPOINTS


def add_to(commands: argparse._SubParsersAction) -> None:
    """Define the command's arguments."""
    parser = commands.add_parser("kit", help="write small checkpoints that show whether a port is right")
    parser.add_argument("out", metavar="OUT", help="the folder to make; it must not exist")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the kit and say what is in it."""
    write_kit(options.out, ProgressBar("writing"))
    size = sum(path.stat().st_size for path in Path(options.out).rglob("*") if path.is_file())
    print(f"{options.out}: {', '.join(CHECKPOINTS)}; {size / 1e6:.1f} MB. Start with {options.out}/README.md")
    return 0
