"""``minioss synth``: write a folder with random weights in the official format."""

import argparse
from dataclasses import fields, replace

from minioss.checkpoint.config_json import HUGGINGFACE, ORIGINAL
from minioss.checkpoint.synthetic import synthesize
from minioss.cli.progress import ProgressBar
from minioss.config import PRESETS, Config, alternating, preset


def add_to(commands: argparse._SubParsersAction) -> None:
    """Define the command's arguments; every number of the config is an option."""
    parser = commands.add_parser("synth", help="write a model folder with random weights")
    parser.add_argument("out", metavar="OUT", help="the folder to make; it must not exist")
    parser.add_argument("--preset", choices=PRESETS, default="tiny", help="the shape to start from (tiny)")
    parser.add_argument("--layout", choices=(HUGGINGFACE, ORIGINAL), default=HUGGINGFACE)
    parser.add_argument("--dense", action="store_true", help="experts as bfloat16 instead of MXFP4, the same values")
    parser.add_argument("--seed", type=int, default=0, help="which random weights (0)")
    parser.add_argument("--tokenizer", metavar="FILE", help="a tokenizer.json to copy into the folder")
    shape = parser.add_argument_group("shape", "numbers that differ from the preset's")
    for field in _numbers():
        shape.add_argument(f"--{field.name.replace('_', '-')}", type=field.type, metavar="N")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the folder and say what it is."""
    given = {field.name: value for field in _numbers() if (value := getattr(options, field.name)) is not None}
    if "num_hidden_layers" in given:
        given["layer_types"] = alternating(given["num_hidden_layers"])
    config = replace(preset(options.preset), **given)
    synthesize(
        options.out,
        config,
        layout=options.layout,
        dense=options.dense,
        seed=options.seed,
        tokenizer=options.tokenizer,
        progress=ProgressBar("writing"),
    )
    print(
        f"{options.out}: {config.num_hidden_layers} layers of random weights, seed {options.seed}; what it generates is noise"
    )
    return 0


def _numbers() -> list:
    return [field for field in fields(Config) if field.type in (int, float)]
