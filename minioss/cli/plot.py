"""``minioss plot``: a picture in a file."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import tiktoken
from numpy.typing import NDArray

from minioss import plots
from minioss.chat.conversation import Chat
from minioss.checkpoint.loading import TINY, load
from minioss.checkpoint.whole import whole
from minioss.errors import InputError
from minioss.model import Model
from minioss.parts import parts
from minioss.plots.style import pyplot
from minioss.text.harmony.rendering import render
from minioss.text.tokenizer import load_tokenizer
from minioss.verify.tracing import trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SENTENCE = "Once upon a time there was a little girl who lived near the wood with her mother."
BEGINNING = "Once upon a time there was a little"
STORY = (
    f"{SENTENCE} Every morning she went to the well, and every evening she fed the hens. One day a bird sat on the "
    'fence and could not fly. "What is the matter?" asked the girl. "My wing is hurt," said the bird. So she took it '
    "home, gave it bread and water, and kept it warm by the fire. When spring came, the bird flew up into the blue sky "
    "and sang. The girl laughed, and her mother laughed too."
)
QUESTION = "What is 85 + 347?"
NEW_TOKENS = 200
DOTS_PER_INCH = 150


@dataclass(frozen=True)
class Subject:
    """What a picture is of, opened as far as the picture needs it."""

    folder: str | Path
    prompt: str
    layer: int | None
    head: int

    @cached_property
    def model(self) -> Model:
        """The model in the folder."""
        return load(self.folder)

    @cached_property
    def encoding(self) -> tiktoken.Encoding:
        """Its tokenizer."""
        return load_tokenizer(self.folder, self.model.config.vocab_size)

    @cached_property
    def ids(self) -> list[int]:
        """The prompt's tokens; special tokens count as such."""
        return self.encoding.encode(self.prompt, allowed_special="all")

    @cached_property
    def labels(self) -> list[str]:
        """The prompt's tokens as they are written at an axis."""
        return plots.token_labels(self.ids, self.encoding)

    @cached_property
    def conversation(self) -> list[int]:
        """The tokens of the prompt as a question, with the model's most probable answer."""
        chat = Chat(self.model, effort="high", max_rounds=1, max_new_tokens=NEW_TOKENS, temperature=0.0)
        for _ in chat.stream(self.prompt):
            pass
        return render(chat.conversation(), self.encoding)

    @cached_property
    def chosen_layer(self) -> int:
        """The layer that was asked for; otherwise the last."""
        count = self.model.config.num_hidden_layers
        if self.layer is not None and not 0 <= self.layer < count:
            raise InputError(f"--layer is {self.layer}; expected 0 to {count - 1}")
        return count - 1 if self.layer is None else self.layer

    def trace(self, *wanted: str) -> dict[str, NDArray]:
        """A trace of the prompt."""
        return trace(self.model, self.ids, wanted)


class Picture(NamedTuple):
    """A phrase on what it shows, how it is drawn, the arguments that it takes, and a prompt where none is given."""

    about: str
    draw: Callable[[Subject], "Axes"]
    takes: tuple[str, ...] = ()
    prompt: str = STORY


def _windows(of: Subject) -> "Axes":
    config = of.model.config
    return plots.windows(config, min(4 * config.sliding_window, config.max_position_embeddings))


def _cache(of: Subject) -> "Axes":
    config = of.model.config
    return plots.cache_size(config, min(8 * config.sliding_window, config.max_position_embeddings))


def _load_by_channel(of: Subject) -> "Axes":
    ids, layer = of.conversation, of.chosen_layer
    arrays = trace(of.model, ids, [f"layers.{layer}.router.*"])
    return plots.load_by_channel(arrays, layer, plots.token_kinds(ids, of.encoding))


def _logit_lens(of: Subject) -> "Axes":
    arrays = of.trace("embedding", "layers.*.output", "layers.*.router.experts", "layers.*.router.weights")
    return plots.logit_lens(arrays, of.model, of.encoding)


PICTURES = {
    "number-line": Picture("the 16 numbers of MXFP4", lambda of: plots.number_line()),
    "rounding-error": Picture("how far numbers are from them", lambda of: plots.rounding_error()),
    "wavelengths": Picture(
        "how slowly RoPE turns each pair, and YaRN's ramp",
        lambda of: plots.wavelengths(of.model.config.rope, of.model.config.head_dim),
        ("folder",),
    ),
    "attention": Picture(
        "which tokens a head looks at, and its sink",
        lambda of: plots.attention_map(
            of.trace(f"layers.{of.chosen_layer}.attention.weights"), of.chosen_layer, of.head, of.labels
        ),
        ("folder", "prompt", "layer", "head"),
        SENTENCE,
    ),
    "sinks": Picture(
        "how much each head gives to its sink",
        lambda of: plots.sink_mass(of.trace("layers.*.attention.weights")),
        ("folder", "prompt"),
    ),
    "windows": Picture("how far each layer sees", _windows, ("folder",)),
    "expert-load": Picture(
        "how many tokens each expert sees",
        lambda of: plots.expert_load(of.trace("layers.*.router.*")),
        ("folder", "prompt"),
    ),
    "co-activation": Picture(
        "which experts work together",
        lambda of: plots.co_activation(of.trace(f"layers.{of.chosen_layer}.router.*"), of.chosen_layer),
        ("folder", "prompt", "layer"),
    ),
    "router-entropy": Picture(
        "how undecided the router is",
        lambda of: plots.router_entropy(of.trace("layers.*.router.logits")),
        ("folder", "prompt"),
    ),
    "channel-load": Picture(
        "which experts see which channel of a conversation", _load_by_channel, ("folder", "prompt", "layer"), QUESTION
    ),
    "logit-lens": Picture(
        "what each layer would say next, and its experts", _logit_lens, ("folder", "prompt"), SENTENCE
    ),
    "stream": Picture(
        "how the residual stream grows",
        lambda of: plots.stream_sizes(of.trace("embedding", "layers.*.output")),
        ("folder", "prompt"),
    ),
    "temperatures": Picture(
        "what a temperature makes of the probabilities",
        lambda of: plots.temperatures(of.model(of.ids)[-1], of.encoding),
        ("folder", "prompt"),
        BEGINNING,
    ),
    "cache": Picture("what the cache keeps of a text", _cache, ("folder",)),
    "bytes": Picture(
        "what a token reads",
        lambda of: plots.bytes_per_token(parts(of.model.weights, of.model.config)),
        ("folder",),
    ),
    "timeline": Picture(
        "a conversation, channel by channel",
        lambda of: plots.timeline(plots.token_kinds(of.conversation, of.encoding)),
        ("folder", "prompt"),
        QUESTION,
    ),
    "losses": Picture(
        "how training went; FOLDER is the losses.csv of minioss train",
        lambda of: plots.loss_curve(plots.read_losses(of.folder)),
        ("folder",),
    ),
}


def add_to(commands: argparse._SubParsersAction) -> None:
    """Define the command's arguments."""
    listed = "\n".join(f"  {name:15} {picture.about}" for name, picture in PICTURES.items())
    parser = commands.add_parser(
        "plot",
        help="draw a picture of the model at work",
        epilog=f"the pictures:\n{listed}\n\nOf timeline and channel-load, the prompt is a question, which the model answers.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", choices=PICTURES, help="which picture")
    parser.add_argument("folder", metavar="FOLDER", nargs="?", help="the model folder (the tiny model)")
    parser.add_argument("--prompt", metavar="TEXT", help="what the model reads")
    parser.add_argument("--layer", type=int, metavar="N", help="which layer, where the picture is of one (the last)")
    parser.add_argument("--head", type=int, metavar="N", help="which query head, of attention (0)")
    parser.add_argument("-o", "--out", required=True, metavar="OUT", help="the .png or .svg file to make")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Draw, write, and say what was written."""
    out, picture = Path(options.out), PICTURES[options.name]
    _check(options, out, picture)
    pyplot().switch_backend("agg")  # no window
    subject = Subject(options.folder or TINY, options.prompt or picture.prompt, options.layer, options.head or 0)
    figure = picture.draw(subject).figure
    # Without a salt and a date, the same picture is the same file.
    metadata = {"Date": None} if out.suffix == ".svg" else {}
    with whole(out, "file", 0) as partial, pyplot().rc_context({"svg.hashsalt": "minioss"}):
        figure.savefig(partial, format=out.suffix[1:], dpi=DOTS_PER_INCH, metadata=metadata)
    pyplot().close(figure)
    print(f"{out}: {picture.about}")
    return 0


def _check(options: argparse.Namespace, out: Path, picture: Picture) -> None:
    """Refuse what cannot be drawn, before anything is computed."""
    if out.suffix not in (".png", ".svg"):
        raise InputError(f"the picture {out} ends in {out.suffix!r}; expected .png or .svg")
    if out.exists():
        raise InputError(f"{out} exists; expected a file that is still to be made")
    for name in ("folder", "prompt", "layer", "head"):
        if getattr(options, name) is not None and name not in picture.takes:
            raise InputError(f"{options.name} takes no {name}; expected {', '.join((*picture.takes, 'out'))}")
    if options.prompt == "":
        raise InputError("the prompt is empty; expected at least one character")
    if options.name == "losses" and options.folder is None:
        raise InputError("no losses given: expected minioss plot losses FILE.csv")
