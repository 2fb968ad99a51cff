"""What several commands have: folder and prompt, how a model runs, as for `minioss.load`, how a token is chosen."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minioss.checkpoint.loading import TINY
from minioss.errors import InputError


def folder_and_prompt(command: str, given: Sequence[str]) -> tuple[str | Path, str]:
    """The two, where the folder may be left out and then is the one in the package."""
    if len(given) > 2:
        raise InputError(f"there are {len(given)} arguments; expected a folder and one prompt (in quotes?)")
    prompt = given[-1] if given else ""
    if not prompt:
        raise InputError("the prompt is empty; expected at least one character")
    if len(given) == 2:
        return given[0], prompt
    if os.path.isdir(prompt):  # a long text is no path, which Path says with an error
        raise InputError(f"no prompt given: expected minioss {command} {prompt} PROMPT")
    if os.sep in prompt and not any(map(str.isspace, prompt)):
        raise InputError(f"{prompt} looks like a folder; expected minioss {command} [FOLDER] PROMPT")
    return TINY, prompt


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


def add_sampling_options(parser: argparse.ArgumentParser) -> None:
    """Define them."""
    group = parser.add_argument_group("how a token is chosen")
    group.add_argument("--temperature", type=float, default=1.0, metavar="X", help="0 for the most probable token (1)")
    group.add_argument("--top-k", type=int, metavar="N", help="only the N most probable tokens")
    group.add_argument("--top-p", type=float, default=1.0, metavar="X", help="only the most probable that reach X")
    group.add_argument(
        "--min-p", type=float, default=0.0, metavar="X", help="only those X times as probable as the best"
    )
    group.add_argument("--repetition-penalty", type=float, default=1.0, metavar="X", help="above 1: less repetition")
    group.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same text")


def sampling_options(options: argparse.Namespace) -> dict[str, Any]:
    """Those options, by the names that `minioss.generate` has for them."""
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed")
    return {name: getattr(options, name) for name in names}
