"""The conformance kit: small checkpoints, tokens to run on them, and what must come out.

Whoever ports gpt-oss runs the tokens on their port and compares the logits: by `minioss verify`, or
in their own tests with the golden traces that lie beside.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minioss.checkpoint.config_json import HUGGINGFACE, ORIGINAL
from minioss.checkpoint.gguf import write_gguf
from minioss.checkpoint.loading import load
from minioss.checkpoint.synthetic import Bits
from minioss.checkpoint.whole import whole
from minioss.checkpoint.writing import write_folder
from minioss.model import Model
from minioss.verify.files import write_trace
from minioss.verify.kit_checkpoints import CHECKPOINTS, FORMS, SEED, Checkpoint, draw
from minioss.verify.reference import reference
from minioss.verify.tracing import trace

MOST_BYTES = 20 * 10**6
# No chosen expert's logit is nearer than this to one that was not chosen: a thousand times float32's rounding.
MARGIN = 2e-3

README = """\
# A conformance kit for ports of gpt-oss

Small checkpoints with random weights, made so that every mistake that ports are known to make changes the logits.
Made by minioss, whose page docs/kit.md says more. `kit.json` says all of this for programs.

For each checkpoint: open it in a form that the port reads, run the ids of `tokens.json`, and write `tokens` (T) and
`logits` (T, V) of all positions to a .npz or .safetensors file. Then

    minioss verify released/model theirs.npz

gives the verdict. Run the tokens at once, and again in pieces through the cache: the logits must be the same.
`golden.safetensors` holds the right logits in float64, and for some checkpoints what lies between.

"""


def write_kit(out: str | Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Write the kit. The folder appears whole or not at all.

    The checkpoints and tokens are the same bytes on every machine; the golden numbers, float64, are
    the same up to the last digits, in which libraries for matrix products differ.

    Parameters
    ----------
    out : the folder to make; it must not exist
    progress : called with (checkpoints written, checkpoints in all)

    Raises
    ------
    InputError
        Where the folder exists, the disk is too small, or the package gguf is missing.
    """
    out = Path(out)
    with whole(out, "folder", MOST_BYTES) as partial:
        partial.mkdir()
        entries = []
        for name, checkpoint in CHECKPOINTS.items():
            entries.append(_write(partial, name, checkpoint))
            if progress:
                progress(len(entries), len(CHECKPOINTS))
        (partial / "kit.json").write_text(json.dumps({"checkpoints": entries}, indent=2) + "\n", encoding="utf-8")
        (partial / "README.md").write_text(README + _table(entries), encoding="utf-8")


def _write(kit: Path, name: str, checkpoint: Checkpoint) -> dict[str, Any]:
    """Write one checkpoint in all its forms, its tokens and its trace; what kit.json says of it."""
    folder = kit / name
    for form in checkpoint.forms:
        _write_form(folder, form, checkpoint)
    model = load(folder / FORMS["huggingface"], dtype="float64")
    ids_T = tokens(model, checkpoint.length)
    (folder / "tokens.json").write_text(json.dumps(ids_T.tolist()) + "\n", encoding="utf-8")
    write_trace(folder / "golden.safetensors", trace(model, ids_T, checkpoint.golden))
    return {
        "name": name,
        "purpose": checkpoint.purpose,
        "forms": {form: f"{name}/{FORMS[form]}" for form in checkpoint.forms},
        "tokens": f"{name}/tokens.json",
        "golden": f"{name}/golden.safetensors",
        "length": checkpoint.length,
    }


def _write_form(folder: Path, form: str, checkpoint: Checkpoint) -> None:
    out = folder / FORMS[form]
    if form == "gguf":
        write_gguf(folder / FORMS["huggingface"], out)
        return
    layout = ORIGINAL if form == "original" else HUGGINGFACE
    write_folder(
        out,
        checkpoint.config,
        lambda tensor: draw(checkpoint, tensor, layout),
        layout=layout,
        dense=form == "dense",
    )


def tokens(model: Model, length: int) -> NDArray[np.int64]:
    """Random token ids on which no choice of the router is a near-tie.

    Tokens that have one are drawn anew until none is left; (T,), the same for the same model.
    """
    bits, vocab_size = Bits(SEED, "tokens", None), model.config.vocab_size

    def drawn(count: int) -> NDArray[np.int64]:
        return (bits.take(4 * count).view("<u4") % vocab_size).astype(np.int64)

    ids_T = drawn(length)
    while (near_T := margins(model, ids_T) < MARGIN).any():
        ids_T[near_T] = drawn(np.count_nonzero(near_T))
    return ids_T


def margins(model: Model, ids_T: NDArray[np.integer]) -> NDArray[np.float64]:
    """How far the last chosen expert is above the first that was not, in the layer where that is least; (T,)."""
    alone = reference(model, {"tokens": ids_T})
    return alone.margins(alone.exact).min(axis=0)


def _table(entries: list[dict[str, Any]]) -> str:
    lines = ["| checkpoint | tokens | forms | what it is for |", "|---|---|---|---|"]
    for entry in entries:
        forms = ", ".join(f"{form} `{path}`" for form, path in entry["forms"].items())
        lines.append(f"| {entry['name']} | {entry['length']} | {forms} | {entry['purpose']} |")
    return "\n".join(lines) + "\n"
