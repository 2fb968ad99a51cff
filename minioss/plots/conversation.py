"""Conversations: which channel each token belongs to, and a timeline of them."""

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from minioss.errors import InputError
from minioss.plots.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, YELLOW, axes, number
from minioss.text.harmony.header import CHANNELS
from minioss.text.harmony.messages import Message
from minioss.text.harmony.parsing import Parser

if TYPE_CHECKING:
    import tiktoken
    from matplotlib.axes import Axes

HEADER = "header"
COLORS = {
    "system": GREY,
    "developer": PURPLE,
    "user": BLACK,
    "analysis": SKY,
    "commentary": YELLOW,
    "tool": ORANGE,
    "final": BLUE,
    "assistant": GREEN,
    HEADER: "#AAAAAA",
}
KINDS = tuple(COLORS)


def token_kinds(ids: Iterable[int], encoding: "tiktoken.Encoding") -> list[str]:
    """What each token of a conversation belongs to.

    What the assistant says is "analysis", "commentary" or "final", and "assistant" in no channel; what others
    say is "system", "developer", "user" or "tool". Special tokens, and the words of a header, are "header".

    Parameters
    ----------
    ids : tokens, from a ``<|start|>`` on, or from where the assistant writes
    encoding : their tokenizer

    Raises
    ------
    InputError
        Where the tokenizer lacks a special token of harmony.
    """
    parser, kinds, before = Parser(encoding), [], None
    for token in ids:
        parser.push(token)
        now = parser.current
        kinds.append(HEADER if now is None or before is None else kind_of(now))
        before = now
    return kinds


def kind_of(message: Message) -> str:
    """Of what the assistant says, the channel, where it is a known one; otherwise who speaks."""
    return message.channel if message.role == "assistant" and message.channel in CHANNELS else message.role


def timeline(kinds: Sequence[str], ax: "Axes | None" = None) -> "Axes":
    """A conversation from left to right: a row for each kind of token, in brackets how many there are.

    Parameters
    ----------
    kinds : of each token, as `token_kinds` gives them
    ax : where to draw; None for a new figure

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        Where there is no token, one is of another kind, or matplotlib is missing.
    """
    if not kinds or not set(kinds) <= set(KINDS):
        raise InputError(f"the kinds are {sorted(set(kinds))}; expected some of {', '.join(KINDS)}")
    rows = [kind for kind in KINDS if kind in kinds]
    ax = axes(ax, 8, 1.1 + 0.34 * len(rows))
    start = 0
    for kind, run in itertools.groupby(kinds):
        length = len(list(run))
        ax.barh(rows.index(kind), length, left=start, height=0.8, color=COLORS[kind], linewidth=0)
        start += length
    ax.set_yticks(range(len(rows)), [f"{kind} ({kinds.count(kind)})" for kind in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    number(ax.xaxis, range(len(kinds) + 1), most=10)
    ax.set_xlim(0, len(kinds))
    ax.set_xlabel("position (tokens)")
    return ax
