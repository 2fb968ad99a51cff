"""The special tokens that give a conversation its shape: one id each, which no text is ever encoded to."""

from typing import NamedTuple

import tiktoken

from minioss.errors import InputError


class SpecialTokens(NamedTuple):
    """Their ids in one vocabulary."""

    start: int  # a message begins, with its header
    channel: int  # the next word of the header is the channel
    constrain: int  # the next word of the header is the format that the content keeps to
    message: int  # the header ends, the content begins
    end: int  # a message ends
    call: int  # a message ends, and it calls a tool
    return_: int  # the model's turn ends


CONSTRAIN = "<|constrain|>"
ENDS = ["<|end|>", "<|call|>", "<|return|>"]
NAMES = ["<|start|>", "<|channel|>", CONSTRAIN, "<|message|>", *ENDS]
END_OF_TEXT = "<|endoftext|>"


def special_tokens(encoding: tiktoken.Encoding) -> SpecialTokens:
    """Look up the ids.

    Raises
    ------
    InputError
        Where the vocabulary lacks one.

    Examples
    --------
    >>> from minioss.checkpoint.tokenizer_json import byte_vocabulary
    >>> from minioss.text.tokenizer import from_vocabulary
    >>> special_tokens(from_vocabulary(byte_vocabulary(), "bytes", None)).start
    264
    """
    missing = [name for name in NAMES if name not in encoding.special_tokens_set]
    if missing:
        raise InputError(
            f"the tokenizer {encoding.name} has no {', '.join(missing)}; harmony needs all of {', '.join(NAMES)}"
        )
    return SpecialTokens(*map(encoding.encode_single_token, NAMES))
