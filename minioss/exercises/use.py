"""Exercises on what is around the model: messages, sampling, memory, reasoning, speed, and finding mistakes."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from minioss.checkpoint.loading import TINY, load
from minioss.config import SLIDING, Config, RopeConfig
from minioss.exercises.checking import Exercise, Slip
from minioss.verify.faults import fault
from minioss.verify.tracing import trace

# Harmony

REPLY = (
    "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>{}<|return|>",
    "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>{} Goodbye.<|return|>",
)
WORDS = ["whales", "are", "mammals", "and", "fish", "have", "gills", "seals", "do", "not"]


def between(reply: str, start: str, end: str) -> str:
    """What lies between two signs."""
    return reply.split(start)[-1].split(end)[0]


def some_reply(random: np.random.Generator) -> tuple[str]:
    """Reasoning and an answer, as the model writes them."""
    thought, answer = (" ".join(random.choice(WORDS, 4)) for _ in range(2))
    return (REPLY[int(random.integers(2))].format(thought, answer),)


HARMONY = Exercise(
    "harmony",
    "answer(reply): the text of the final message in what the model wrote, special tokens included as text.",
    lambda reply: between(reply, "<|message|>", "<|return|>"),
    some_reply,
    (
        Slip(
            lambda reply: reply.split("<|message|>")[1].split("<|end|>")[0],
            "That is the analysis, which users do not see.",
        ),
        Slip(lambda reply: reply.split("<|message|>")[-1], "<|return|> ends the message; it is no part of it."),
        Slip(
            lambda reply: reply.split("<|channel|>")[-1].split("<|return|>")[0],
            "The channel's name and <|message|> belong to the header.",
        ),
    ),
)

# Sampling


def reaching(p_V: NDArray, share: float, fewer: int = 0) -> list[int]:
    """The most probable tokens, best first, as many as it takes, or fewer."""
    order = np.argsort(-p_V)
    return order[: int(np.searchsorted(np.cumsum(p_V[order]), share)) + 1 - fewer].tolist()


def probabilities(random: np.random.Generator) -> tuple[NDArray, float]:
    """A distribution over eight tokens, and a share."""
    p_V = random.random(8)
    return p_V / p_V.sum(), 0.7


SAMPLING = Exercise(
    "sampling",
    "top_p(p_V, share): the ids of the fewest tokens that together have at least that share, most probable first.",
    reaching,
    probabilities,
    (
        Slip(lambda p, share: reaching(p, share, fewer=1), "The token that reaches the share belongs to them."),
        Slip(lambda p, share: sorted(reaching(p, share)), "The most probable one comes first."),
        Slip(
            lambda p, share: np.argsort(p)[: len(reaching(p, share))].tolist(),
            "You begin with the least probable token.",
        ),
    ),
)

# Cache


def some_config(random: np.random.Generator) -> tuple[Config, int]:
    """A shape, and a number of tokens beyond its window."""
    shape = Config(
        num_hidden_layers=2 * int(random.integers(1, 5)),
        hidden_size=96,
        intermediate_size=64,
        num_attention_heads=6,
        num_key_value_heads=int(random.choice([2, 3])),
        head_dim=int(random.choice([16, 32])),
        num_local_experts=8,
        num_experts_per_tok=2,
        vocab_size=100,
        sliding_window=16,
        rope=RopeConfig(),
    )
    return shape, int(random.integers(20, 90))


def cached(config: Config, tokens: int, window: int | None = None, kept: int = 2) -> int:
    """Numbers that are kept of so many tokens."""
    window = config.sliding_window if window is None else window
    positions = sum(min(tokens, window) if kind == SLIDING else tokens for kind in config.layer_types)
    return kept * positions * config.num_key_value_heads * config.head_dim


CACHE = Exercise(
    "cache",
    "numbers(config, tokens): how many numbers the cache of a text holds, when sliding layers forget what they never need.",
    cached,
    some_config,
    (
        Slip(
            lambda config, tokens: cached(config, tokens, window=tokens),
            "Sliding layers keep no more than their window.",
        ),
        Slip(lambda config, tokens: cached(config, tokens, kept=1), "A cache keeps keys and values."),
        Slip(
            lambda config, tokens: cached(config, tokens) * config.num_attention_heads // config.num_key_value_heads,
            "Keys and values have fewer heads than queries.",
        ),
    ),
)

# Reasoning


def worked(a: int, b: int, from_left: bool = False, carrying: bool = True, padded: bool = True) -> str:
    """A sum, column by column, as the tiny model writes it at high effort."""
    size = max(len(str(a)), len(str(b)))
    top, bottom = str(a).zfill(size), str(b).zfill(size)
    lines, carry = [f"{top}+{bottom}" if padded else f"{a}+{b}"], 0
    for place in range(size) if from_left else reversed(range(size)):
        total = int(top[place]) + int(bottom[place]) + carry
        lines.append(f"{top[place]}+{bottom[place]}+{carry}={total}: {total % 10} carry {total // 10}")
        carry = total // 10 if carrying else 0
    return "\n".join([*lines, f"So {a + b}."])


def two_numbers(random: np.random.Generator) -> tuple[int, int]:
    """Of different lengths, and with columns that carry."""
    return int(random.integers(100, 1000)), int(random.integers(10, 100))


CHAT = Exercise(
    "chat",
    "worked(a, b): the reasoning of a sum, line for line as the tiny model writes it at high effort.",
    worked,
    two_numbers,
    (
        Slip(lambda a, b: worked(a, b, from_left=True), "Columns go from the right: a carry goes to the left."),
        Slip(lambda a, b: worked(a, b, carrying=False), "The third number of a line is the carry of the line before."),
        Slip(
            lambda a, b: worked(a, b, padded=False),
            "The first line gives both numbers the same length, with zeros, so that the digits of a column can be found.",
        ),
    ),
)

# Kernels


def expert_bytes(config: Config, _: int = 0, bits: float = 4.25, experts: int | None = None, maps: int = 3) -> float:
    """Bytes of the experts' matrices that a token reads."""
    experts = config.num_experts_per_tok if experts is None else experts
    numbers = config.num_hidden_layers * experts * maps * config.intermediate_size * config.hidden_size
    return numbers * bits / 8


KERNELS = Exercise(
    "kernels",
    "expert_bytes(config, tokens): bytes of the experts' matrices, in MXFP4 with scales, read for one decoded token.",
    expert_bytes,
    some_config,
    (
        Slip(
            lambda config, _: expert_bytes(config, experts=config.num_local_experts),
            "Only the active experts are read.",
        ),
        Slip(
            lambda config, _: expert_bytes(config, bits=4),
            "Every 32 codes have a scale of one byte: 4.25 bits a number.",
        ),
        Slip(lambda config, _: expert_bytes(config, maps=2), "gate, up and down: three matrices of F D numbers."),
    ),
)

# Verify

HIDDEN = "sink-dropped"


@cache
def mystery() -> dict[str, NDArray]:
    """What a port with one mistake computes of the tiny model: its trace."""
    with fault(HIDDEN):
        return trace(load(TINY, dtype="float64"), np.arange(300, 400))


VERIFY = Exercise(
    "verify",
    "The name of the mistake behind minioss.exercises.mystery(), the trace of a port on tokens 300 to 399.",
    lambda: HIDDEN,
    lambda random: (),
    (
        Slip(
            lambda: "window-plus-one", "A window that is too wide shows only beyond it. This begins at the first token."
        ),
        Slip(
            lambda: "router-bias-missing", "By the time the router sees it, it has long been wrong. Look at attention."
        ),
        Slip(
            lambda: "concentration-missing",
            "Queries and keys after RoPE are right. Look at what is made of the scores.",
        ),
    ),
)

EXERCISES = (HARMONY, SAMPLING, CACHE, CHAT, KERNELS, VERIFY)
