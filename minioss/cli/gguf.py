"""``minioss gguf``: write a model folder as one GGUF file, for llama.cpp."""

import argparse

from minioss.checkpoint.gguf import TYPE_OF_DENSE, write_gguf
from minioss.cli.progress import ProgressBar


def add_to(commands: argparse._SubParsersAction) -> None:
    """Define the command's arguments."""
    parser = commands.add_parser("gguf", help="write a model folder as one GGUF file, for llama.cpp")
    parser.add_argument("folder", metavar="FOLDER", help="the model folder, with MXFP4 experts")
    parser.add_argument("out", metavar="OUT", help="the file to make; it must not exist")
    parser.add_argument(
        "--dense", choices=TYPE_OF_DENSE, default="bfloat16", help="the type of all matrices but the experts (bfloat16)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the file and say what it is."""
    write_gguf(options.folder, options.out, options.dense, ProgressBar("writing"))
    print(f"{options.out}: MXFP4 experts, {options.dense} otherwise")
    return 0
