"""``minioss train``: make the tiny model."""

import argparse
import csv
import sys
from pathlib import Path

from minioss.cli.curve import curve
from minioss.cli.progress import ProgressBar
from minioss.errors import InputError
from minioss.model import Model
from minioss.text.generation import generate
from minioss.text.streaming import stream_text
from minioss.training import tiny
from minioss.training.checkpoint import State
from minioss.training.corpus.tokenizer import PATH, tokenizer
from minioss.training.loop import Report, train
from minioss.training.parameters import assembled
from minioss.training.recipe import Recipe
from minioss.training.release import release
from minioss.training.shipped import shipped

STEPS_PER_SAMPLE, STEPS_PER_CHECKPOINT = 250, 100
SAMPLE_TOKENS = 60
HEADER = "step,tokens,cross_entropy,balance,norm,rate"


def add_to(commands: argparse._SubParsersAction) -> None:
    """Define the command's arguments."""
    parser = commands.add_parser(
        "train",
        help="train the tiny model",
        epilog="Beside OUT it keeps OUT.checkpoint, from which it goes on where it was stopped, and OUT.losses.csv.",
    )
    parser.add_argument("out", metavar="OUT", help="the model folder to make; it must not exist")
    parser.add_argument("--steps", type=int, default=tiny.STEPS, metavar="N", help=f"({tiny.STEPS})")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of weights and data (0)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train, tell how it goes, and write the folder."""
    out = Path(options.out)
    if out.exists():
        raise InputError(f"{out} exists; expected a folder that is still to be made")
    if options.steps < 1 or options.seed < 0:
        raise InputError(f"steps are {options.steps} and the seed is {options.seed}; expected 1 or more, and 0 or more")
    out.parent.mkdir(parents=True, exist_ok=True)
    recipe = tiny.recipe(options.steps, options.seed)
    checkpoint, losses = (out.with_name(f"{out.name}.{kind}") for kind in ("checkpoint", "losses.csv"))
    log = Log(losses, recipe, goes_on=checkpoint.exists())
    state = train(recipe, lambda step: tiny.batch_of(recipe.seed, step), checkpoint, STEPS_PER_CHECKPOINT, log.report)
    release(out, state.masters, recipe.config, PATH)
    print(f"{out}: trained {recipe.steps} steps")
    return 0


class Log:
    """Tells of the steps: a line of a file each, a bar on a terminal, and now and then the curve and a sample."""

    def __init__(self, path: Path, recipe: Recipe, goes_on: bool) -> None:
        self._path, self._recipe = path, recipe
        self._bar = ProgressBar("training")
        self._losses: dict[int, float] = {}
        if goes_on and path.exists():
            with open(path, newline="") as file:
                self._losses = {int(row["step"]): float(row["cross_entropy"]) for row in csv.DictReader(file)}
        else:
            path.write_text(HEADER + "\n")

    def report(self, state: State, report: Report) -> None:
        """Tell of one step."""
        self._losses[report.step] = report.losses.cross_entropy
        with open(self._path, "a") as file:
            losses = f"{report.losses.cross_entropy:.5f},{report.losses.balance:.5f}"
            file.write(f"{report.step},{report.tokens},{losses},{report.norm:.5f},{report.rate:.3e}\n")
        if report.step % STEPS_PER_SAMPLE == 0 or report.step == self._recipe.steps:
            self._bar.wipe()
            # A step that was made again after a kill is there once, at its place.
            losses = [self._losses[step] for step in sorted(self._losses) if step <= report.step]
            print(f"step {report.step} of {self._recipe.steps}\n{curve(losses)}\n{sample(state, self._recipe)}\n")
            sys.stdout.flush()
        self._bar(report.step, self._recipe.steps)


def sample(state: State, recipe: Recipe, prompt: str = "Once upon a time") -> str:
    """What the model of a state writes."""
    weights = assembled({name: shipped(name[0], array) for name, array in state.masters.items()})
    encoding = tokenizer()
    tokens = generate(Model(recipe.config, weights), encoding.encode(prompt), max_new_tokens=SAMPLE_TOKENS, seed=0)
    return prompt + "".join(stream_text(tokens, encoding))
