"""What each rung of the precision ladder costs: `python -m tests.benchmarks.errors [FOLDER …] [--text FILE]`.

Prints a Markdown table for each folder, or for synthetic models where none is given: KL divergence and NMSE of the
logits against float64, with the router's choice held to that of float64, and free.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

import minioss
from minioss.config import alternating
from tests.models import held_choices, nmse, recorded_choices, small_config

RUNGS = {
    "float32, NumPy": {"kernels": "numpy"},
    "float32, kernels": {"kernels": "cython"},
    '`activations="bfloat16"`': {"activations": "bfloat16"},
    '`activations="int8"`': {"activations": "int8"},
    '`dense="int8"`': {"dense": "int8"},
    '`activations="int8", dense="int8"`': {"activations": "int8", "dense": "int8"},
    '`cache="bfloat16"`': {"cache": "bfloat16"},
}

SYNTHETIC = {
    "small: 3 layers of 96, 8 experts": small_config(),
    "tiny: the preset": minioss.preset("tiny"),
    "the 20b's width: 2 layers of 2880, 8 experts": replace(
        minioss.preset("20b"),
        num_hidden_layers=2,
        layer_types=alternating(2),
        num_local_experts=8,
        vocab_size=20000,
    ),
}


def mean_kl(reference_TV: np.ndarray, other_TV: np.ndarray) -> float:
    """Σ p (log p - log q) of the next token, in nats, in the mean over positions."""
    log_p, log_q = (log_softmax(logits.astype(np.float64)) for logits in (reference_TV, other_TV))
    return float(np.mean(np.sum(np.exp(log_p) * (log_p - log_q), axis=-1)))


def log_softmax(logits_TV: np.ndarray) -> np.ndarray:
    shifted = logits_TV - logits_TV.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def table(folder: Path, ids: np.ndarray) -> Iterator[str]:
    """The lines of one model's table."""
    with recorded_choices() as choices:
        exact = minioss.load(folder, dtype="float64")(ids)
    yield "| | KL, same experts | NMSE, same experts | KL | NMSE |\n|---|---|---|---|---|"
    for name, options in RUNGS.items():
        model = minioss.load(folder, **options)
        free = model(ids)
        with held_choices(choices):
            held = model(ids)
        numbers = [measure(exact, logits) for logits in (held, free) for measure in (mean_kl, nmse)]
        yield f"| {name} | " + " | ".join(f"{number:.1e}" for number in numbers) + " |"


def tokens_of(folder: Path, text: Path | None, count: int) -> np.ndarray:
    """The beginning of a text, or random tokens."""
    vocab_size = minioss.load(folder).config.vocab_size
    if text is None:
        return np.random.default_rng(0).integers(vocab_size, size=count)
    return np.array(minioss.load_tokenizer(folder, vocab_size).encode(text.read_text(encoding="utf-8")))[:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--text", type=Path, help="what the models read; random tokens without it")
    parser.add_argument("--tokens", type=int, default=128)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        models = {str(folder): folder for folder in options.folders}
        if not models:
            models = {name: Path(temporary) / str(number) for number, name in enumerate(SYNTHETIC)}
        for name, folder in models.items():
            if not folder.exists() and name in SYNTHETIC:
                minioss.synthesize(folder, SYNTHETIC[name])
            print(f"\n{name}\n")
            for line in table(folder, tokens_of(folder, options.text, options.tokens)):
                print(line, flush=True)


if __name__ == "__main__":
    main()
