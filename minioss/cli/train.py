"""``minioss train``: make the tiny model."""

import argparse
import time
from pathlib import Path

from minioss.cli.units import scaled
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

STEPS_PER_LINE, STEPS_PER_CHECKPOINT = 20, 100
SAMPLE_TOKENS = 60
HEADER = "step,cross_entropy,balance,norm,rate,seconds\n"


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
    log = Log(losses, recipe)
    state = train(recipe, lambda step: tiny.batch_of(recipe.seed, step), checkpoint, STEPS_PER_CHECKPOINT, log.report)
    release(out, state.masters, recipe.config, PATH)
    print(f"{out}: trained {recipe.steps} steps, loss {log.mean():.3f}")
    print(sample(state, recipe))
    return 0


class Log:
    """Tells of the steps: a line of a file each, and now and then a line on the screen."""

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self._path, self._recipe = path, recipe
        self._start, self._steps, self._tokens = time.monotonic(), 0, 0
        self._recent: list[float] = []
        if not path.exists():
            path.write_text(HEADER)

    def report(self, report: Report) -> None:
        """Tell of one step."""
        self._steps += 1
        self._tokens += report.tokens
        seconds = time.monotonic() - self._start
        self._recent = [*self._recent[-99:], report.losses.cross_entropy]
        with open(self._path, "a") as file:
            losses = f"{report.losses.cross_entropy:.5f},{report.losses.balance:.5f}"
            file.write(f"{report.step},{losses},{report.norm:.5f},{report.rate:.3e},{seconds:.1f}\n")
        if report.step % STEPS_PER_LINE == 0 or report.step == self._recipe.steps:
            left = (self._recipe.steps - report.step) * seconds / self._steps / 60
            print(
                f"step {report.step:5d} of {self._recipe.steps}  loss {self.mean():.3f}  balance "
                f"{report.losses.balance:.2f}  norm {report.norm:.2f}  {scaled(self._tokens / seconds)}tokens/s  {left:.1f} minutes left",
                flush=True,
            )

    def mean(self) -> float:
        """The mean of the latest losses."""
        return sum(self._recent) / max(1, len(self._recent))


def sample(state: State, recipe: Recipe, prompt: str = "Once upon a time") -> str:
    """What the model of a state writes."""
    weights = assembled({name: shipped(name[0], array) for name, array in state.masters.items()})
    encoding = tokenizer()
    tokens = generate(Model(recipe.config, weights), encoding.encode(prompt), max_new_tokens=SAMPLE_TOKENS, seed=0)
    return prompt + "".join(stream_text(tokens, encoding))
