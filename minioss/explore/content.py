"""What the page shows of one text: taken from a trace, rounded to what an eye can tell apart."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tiktoken
from numpy.typing import NDArray

from minioss.errors import InputError
from minioss.explore.shares import attention_rows, thousandths
from minioss.lens import as_if_last
from minioss.model import Model
from minioss.router import softmax
from minioss.text.display import harmless
from minioss.text.harmony.parsing import Parser
from minioss.text.harmony.rendering import open_message
from minioss.text.harmony.special import NAMES
from minioss.text.sampling import largest
from minioss.text.tokenizer import token_bytes
from minioss.verify.tracing import trace

WANTED = ("layers.*.attention.weights", "layers.*.router.experts", "layers.*.router.weights", "layers.*.output")
# A row is where one token looks with one head of one layer. So many make a page of some megabytes.
MOST_TOKENS, MOST_ROWS = 1024, 2**18
ALTERNATIVES, LENS = 8, 3


def content(model: Model, encoding: tiktoken.Encoding, ids: Sequence[int], prompt_length: int | None) -> dict[str, Any]:
    """Run the model on the ids, and collect what the page shows.

    Parameters
    ----------
    model, encoding : a loaded model and its tokenizer
    ids : the text, (T,)
    prompt_length : how many of them are the prompt; None for all

    Returns
    -------
    dict
        Ready for JSON. ``layers`` has the layers in order, and each of their entries has one item a token. Attention
        and experts are in thousandths (see `attention_rows`), the lens and ``next`` are ``[id, probability]``, best
        first. ``words`` spells every id that occurs.

    Raises
    ------
    InputError
        Where the text is too long for a page, or the ids or the length of the prompt are wrong.
    """
    checked_length(model, len(ids))
    if prompt_length is not None and not 1 <= prompt_length <= len(ids):
        raise InputError(f"prompt_length is {prompt_length}; expected 1 to {len(ids)}, the length of the text")
    arrays = trace(model, ids, WANTED)
    ids = arrays["tokens"].tolist()
    layers = [_layer(model, arrays, index) for index in range(model.config.num_hidden_layers)]
    nexts = [
        _most_probable(softmax(logits_V), following, ALTERNATIVES)
        for logits_V, following in zip(arrays["logits"], [*ids[1:], None], strict=True)
    ]
    listed = [row for rows in (nexts, *(layer["lens"] for layer in layers)) for row in rows]
    return {
        "model": model.folder.resolve().name if model.folder else "",
        "tokens": ids,
        "prompt": len(ids) if prompt_length is None else prompt_length,
        "channels": channels(ids, encoding),
        "next": nexts,
        "layers": layers,
        "words": {
            token: spelled(encoding, token) for token in sorted({*ids, *(token for row in listed for token, _ in row)})
        },
    }


def checked_length(model: Model, tokens: int) -> None:
    """Refuse, with an `InputError`, a text that is too long for a page."""
    layers, heads = model.config.num_hidden_layers, model.config.num_attention_heads
    most = min(MOST_TOKENS, MOST_ROWS // (layers * heads))
    if tokens > most:
        raise InputError(
            f"the text has {tokens} tokens; with {layers} layers of {heads} heads a page holds at most {most}"
        )


def _layer(model: Model, arrays: dict[str, NDArray], index: int) -> dict[str, Any]:
    at = {key: arrays[f"layers.{index}.{key}"] for key in (wanted.removeprefix("layers.*.") for wanted in WANTED)}
    shares_TA = thousandths(at["router.weights"])
    return {
        "window": model.config.window(index),
        "attention": attention_rows(at["attention.weights"]),
        "experts": np.stack([at["router.experts"], shares_TA], axis=-1).tolist(),
        "lens": [_most_probable(share_V, None, LENS) for share_V in as_if_last(at["output"], model)],
    }


def _most_probable(share_V: NDArray, beside: int | None, count: int) -> list[tuple[int, float]]:
    """The most probable tokens and their probabilities; ``beside`` comes last where it is not among them."""
    best = largest(share_V, count).tolist()
    if beside is not None and beside not in best:
        best.append(beside)
    return [(token, float(f"{share_V[token]:.3g}")) for token in best]


def channels(ids: Sequence[int], encoding: tiktoken.Encoding) -> list[str] | None:
    """Which part of a conversation each token belongs to: the assistant's channel, or who else speaks.

    None where the text does not begin as a conversation in the harmony format.
    """
    if not encoding.special_tokens_set.issuperset(NAMES) or ids[0] != open_message(encoding)[0]:
        return None
    parser, message_T = Parser(encoding), []
    for token in ids:
        message_T.append(len(parser.messages))
        parser.push(token)
    parser.finish()
    parts = [
        message.channel if message.role == "assistant" and message.channel else message.role
        for message in parser.messages
    ]
    return [parts[message] if message < len(parts) else "assistant" for message in message_T]


def spelled(encoding: tiktoken.Encoding, token: int) -> str:
    r"""The text of a token. Bytes that are part of a character are written as ``\xe2``, control characters as pictures."""
    return harmless(token_bytes(encoding, token).decode("utf-8", "backslashreplace"))
