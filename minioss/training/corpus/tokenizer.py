"""The tiny model's tokenizer: a byte-level BPE trained on what the model is trained on.

    python -m minioss.training.corpus.tokenizer minioss/training/data/tokenizer.json

Ids are ranks: first the 256 bytes, then the merges in the order in which they were learnt, and the
special tokens of harmony last, at the same distances from one another as in gpt-oss. A digit is
always a token of its own, and so is a capital letter within a word of capitals, since no such word
is in the text: numbers and spelled words have one token a sign.
"""

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tiktoken

from minioss.checkpoint.tokenizer_json import HARMONY_OFFSETS, SPECIAL_COUNT, Vocabulary, byte_characters, to_json
from minioss.checkpoint.whole import whole
from minioss.errors import InputError
from minioss.text.harmony.content import content_text, has_functions
from minioss.text.tokenizer import load_tokenizer
from minioss.training.corpus.conversations import conversation
from minioss.training.corpus.stories import story
from minioss.training.corpus.tales import tales

PATH = Path(__file__).parent.parent / "data" / "tokenizer.json"
VOCABULARY = 2048
SEED, STORIES, CONVERSATIONS = 0, 6000, 3000

# As o200k's, but simpler: a word takes the space before it and no other sign, and a digit stands alone.
PATTERN = "|".join(
    [
        r"'(?:[sdmt]|ll|ve|re)",
        r" ?\p{L}+",
        r"\p{N}",
        r" ?[^\s\p{L}\p{N}]+",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)


@cache
def tokenizer() -> tiktoken.Encoding:
    """The trained one, from the package."""
    return load_tokenizer(PATH.parent, VOCABULARY)


def main() -> None:
    """Train it and write it."""
    out = Path(sys.argv[1])
    with whole(out, "file", 0) as partial:
        partial.write_text(json.dumps(trained(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def trained() -> dict[str, Any]:
    """The content of a tokenizer.json, made anew.

    Raises
    ------
    InputError
        Where the package tokenizers is missing.
    """
    try:
        import tokenizers
    except ImportError:
        raise InputError('making a tokenizer needs the package tokenizers: pip install "minioss[train]"') from None
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=VOCABULARY - SPECIAL_COUNT,
        show_progress=False,
        initial_alphabet=[character for _, character in sorted(byte_characters().items())],
    )
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(PATTERN), "isolated")
    byte_level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([split, byte_level])
    bpe.train_from_iterator(texts(), trainer)
    return with_merges(json.loads(bpe.to_str())["model"]["merges"])


def with_merges(merges: list[list[str]]) -> dict[str, Any]:
    """The content of a tokenizer.json with these merges, ids being ranks."""
    byte_of = {character: byte for byte, character in byte_characters().items()}
    made = [bytes(byte_of[character] for character in first + second) for first, second in merges]
    ranks = {token: rank for rank, token in enumerate([bytes([byte]) for byte in range(256)] + made)}
    first = len(ranks)
    names = {offset: name for name, offset in HARMONY_OFFSETS.items()}
    special = {names.get(n, f"<|reserved_{first + n}|>"): first + n for n in range(SPECIAL_COUNT)}
    content = to_json(Vocabulary(ranks, special, PATTERN))
    content["model"] |= {"merges": merges}
    return content


def texts() -> list[str]:
    """What it is trained on: the tales, many stories, and the text of conversations with its roles and channels."""
    random = np.random.default_rng(SEED)
    conversations = [
        text
        for _ in range(CONVERSATIONS)
        for message in conversation(random)
        for text in (message.role, message.channel or "", content_text(message.content, has_functions(message.content)))
    ]
    # Two names in the system message are the only words with several capitals in a row.
    spoken = [text.replace("ChatGPT", "Chat").replace("OpenAI", "Open") for text in conversations]
    return [*tales(), *(story(random) for _ in range(STORIES)), *spoken]


if __name__ == "__main__":
    main()
