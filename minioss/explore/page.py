"""The page: a template, its style, its script and the content, in one file that asks for nothing else.

The content is JSON, compressed, in base64: no token can end the element that holds it. The page's own policy lets
no request leave and no other script run.
"""

import base64
import hashlib
import json
import zlib
from collections.abc import Sequence
from importlib.resources import files
from string import Template

import tiktoken

from minioss.explore.content import content
from minioss.model import Model


def explore_page(
    model: Model, encoding: tiktoken.Encoding, ids: Sequence[int], prompt_length: int | None = None
) -> str:
    """A page that shows what a model does with each token of a text.

    Parameters
    ----------
    model : a loaded model
    encoding : its tokenizer
    ids : the text, (T,), at least one token; a conversation in the harmony format is coloured by channel
    prompt_length : how many of the ids are the prompt, and the others the reply; None for all

    Returns
    -------
    str
        HTML, complete in itself.

    Raises
    ------
    InputError
        Where the ids are wrong, or too many for a page.
    """
    return html(content(model, encoding, ids, prompt_length))


def html(shown: dict) -> str:
    """The page that shows a content."""
    packed = zlib.compress(json.dumps(shown, separators=(",", ":")).encode(), 9)
    script = _part("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Template(_part("page.html")).substitute(
        style=_part("page.css"), script=script, digest=digest, content=base64.b64encode(packed).decode()
    )


def _part(name: str) -> str:
    return files("minioss.explore").joinpath(name).read_text(encoding="utf-8")
