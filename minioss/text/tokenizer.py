"""The tokenizer of a model folder, as a `tiktoken.Encoding`; nothing is ever downloaded."""

import hashlib
import os
import tempfile
from pathlib import Path

import tiktoken

from minioss.checkpoint import tokenizer_json
from minioss.errors import InputError

OFFICIAL = "o200k_harmony"
RANKS_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
RANKS_ADDRESS = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}".encode()


def load_tokenizer(folder: str | Path, vocab_size: int = tokenizer_json.OFFICIAL_VOCABULARY) -> tiktoken.Encoding:
    """The tokenizer of a model.

    It is read from the folder's ``tokenizer.json`` (for ``…/original``, from the folder above);
    where there is none, it is tiktoken's own ``o200k_harmony``, if tiktoken has its ranks on disk.

    Parameters
    ----------
    folder : the model folder
    vocab_size : the model's vocabulary; o200k_harmony is used for 201088 alone

    Raises
    ------
    InputError
        Where there is no tokenizer, or one that cannot be read.
    """
    folder = Path(folder)
    places = [folder, folder.parent] if folder.name == "original" else [folder]
    for place in places:
        path = place / tokenizer_json.FILENAME
        if path.exists():
            return from_vocabulary(tokenizer_json.read(path), place.name, path)
    if vocab_size != tokenizer_json.OFFICIAL_VOCABULARY:
        raise InputError(f"{folder} has no tokenizer.json, and no known tokenizer has {vocab_size} tokens")
    if not ranks_are_stored():
        raise InputError(
            f"{folder} has no tokenizer.json, and tiktoken has not stored the ranks of {OFFICIAL}. Copy "
            "tokenizer.json from the official model folder, or run once where there is a network: "
            f"python -c \"import tiktoken; tiktoken.get_encoding('{OFFICIAL}')\""
        )
    return tiktoken.get_encoding(OFFICIAL)


def from_vocabulary(vocabulary: tokenizer_json.Vocabulary, name: str, path: Path) -> tiktoken.Encoding:
    """A tiktoken encoding of a vocabulary that was read from ``path``."""
    try:
        return tiktoken.Encoding(
            name, pat_str=vocabulary.pattern, mergeable_ranks=vocabulary.ranks, special_tokens=vocabulary.special
        )
    except ValueError as error:
        raise InputError(f"{path} has a pattern that tiktoken cannot read: {error}") from None


def ranks_are_stored() -> bool:
    """Whether tiktoken will find its ranks on disk. Otherwise, or if they were altered, it would download them."""
    path = ranks_path()
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == RANKS_SHA256


def ranks_path() -> Path:
    """Where tiktoken stores the ranks of o200k, which o200k_harmony shares."""
    folder = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    folder = folder or os.path.join(tempfile.gettempdir(), "data-gym-cache")
    return Path(folder) / hashlib.sha1(RANKS_ADDRESS.encode()).hexdigest()


def token_bytes(encoding: tiktoken.Encoding, token: int) -> bytes:
    """The bytes of a token; of an id that the tokenizer does not know, a replacement character."""
    try:
        return encoding.decode_single_token_bytes(int(token))
    except KeyError:
        return REPLACEMENT
