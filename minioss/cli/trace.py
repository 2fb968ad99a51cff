"""``minioss trace``: run a model on some tokens and write down every step."""

import argparse
import json
from pathlib import Path

from minioss.checkpoint.loading import load
from minioss.errors import InputError
from minioss.verify.files import checked_suffix, write_trace
from minioss.verify.tracing import trace


def add_to(commands: argparse._SubParsersAction) -> None:
    """Define the command's arguments."""
    parser = commands.add_parser("trace", help="write down every step of the model on some tokens")
    parser.add_argument("folder", metavar="FOLDER", help="the model folder")
    parser.add_argument("--tokens", required=True, metavar="FILE", help="a JSON list of token ids")
    parser.add_argument("-o", "--out", required=True, metavar="OUT", help="the .npz or .safetensors file to make")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float64", help="of activations (float64)")
    parser.add_argument(
        "--activations",
        choices=("float32", "bfloat16", "int8"),
        default="float32",
        help="what large products round activations to, with --dtype float32 (float32: nothing)",
    )
    parser.add_argument(
        "--keys", nargs="+", default=["*"], metavar="KEY", help="only these arrays; 'layers.3.*' names several"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Load, trace, write, and say what was written."""
    out = checked_suffix(Path(options.out))
    if out.exists():
        raise InputError(f"{out} exists; expected a file that is still to be made")
    ids = read_ids(Path(options.tokens))
    model = load(options.folder, dtype=options.dtype, kernels="numpy", activations=options.activations)
    arrays = trace(model, ids, options.keys)
    write_trace(out, arrays)
    print(f"{out}: {len(ids)} tokens, {len(arrays)} arrays, {out.stat().st_size / 1e6:.1f} MB")
    return 0


def read_ids(path: Path) -> list[int]:
    """The token ids in a JSON file."""
    try:
        ids = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    if not isinstance(ids, list) or not all(type(token) is int for token in ids):
        raise InputError(f"{path} holds no list of integers; expected token ids such as [17, 659, 220]")
    return ids
