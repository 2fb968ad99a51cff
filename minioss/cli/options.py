"""The options that say how a model runs: those of `minioss.load`, for every command that runs one."""

import argparse
from typing import Any


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Define them."""
    group = parser.add_argument_group("how the model runs")
    group.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="of activations (float32)")
    group.add_argument("--kernels", choices=("numpy", "cython"), help="cython where it is built, unless you say")
    group.add_argument("--threads", type=int, metavar="N", help="of the kernels; unless you say, one a processor")
    group.add_argument(
        "--activations",
        choices=("float32", "bfloat16", "int8"),
        default="float32",
        help="what large products round activations to (float32: nothing)",
    )
    group.add_argument(
        "--dense",
        choices=("bfloat16", "int8"),
        default="bfloat16",
        help="attention and unembedding as stored (bfloat16), or rounded in memory",
    )
    group.add_argument(
        "--cache", choices=("float32", "bfloat16"), default="float32", help="how keys and values are kept (float32)"
    )


def model_options(options: argparse.Namespace) -> dict[str, Any]:
    """Those options, by the names that `minioss.load` has for them."""
    names = ("dtype", "kernels", "threads", "activations", "dense", "cache")
    return {name: getattr(options, name) for name in names}
