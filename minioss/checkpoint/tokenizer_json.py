"""The file ``tokenizer.json``: which bytes each token stands for.

The file spells bytes as printable characters (GPT-2's table), since JSON has no bytes. In
gpt-oss a token's id is its rank: of two neighbours that can merge, the pair with the lowest
id merges first, so the vocabulary alone defines the encoding and the list of merges in the
file adds nothing. A file where that does not hold is refused.
"""

from pathlib import Path
from typing import Any, NamedTuple

from minioss.checkpoint.shards import read_json
from minioss.errors import InputError

FILENAME = "tokenizer.json"

# How text is cut before merging: words with one leading space, up to three digits, punctuation,
# line ends, other space. The pattern of o200k, as the official tokenizer.json has it.
PATTERN = "|".join(
    [
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)

# The ids of o200k_harmony, and the first that is a special token.
OFFICIAL_VOCABULARY, OFFICIAL_FIRST_SPECIAL = 201088, 199998

# The harmony specials in the official order, counted from the first; the rest of the ids are reserved.
HARMONY_OFFSETS = {
    "<|startoftext|>": 0,
    "<|endoftext|>": 1,
    "<|return|>": 4,
    "<|constrain|>": 5,
    "<|channel|>": 7,
    "<|start|>": 8,
    "<|end|>": 9,
    "<|message|>": 10,
    "<|call|>": 14,
}
STOPS = ("<|return|>", "<|endoftext|>", "<|call|>")
PADDING, BEGINNING = "<|endoftext|>", "<|startoftext|>"
SPECIAL_COUNT = 16


class Vocabulary(NamedTuple):
    """What a tokenizer.json defines: ranks of byte strings, ids of special tokens, the cutting pattern."""

    ranks: dict[bytes, int]
    special: dict[str, int]
    pattern: str


def byte_characters() -> dict[int, str]:
    """The printable character that stands for each byte: itself, or the next free one from U+0100 on."""
    itself = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = [byte for byte in range(256) if byte not in itself]
    return {byte: chr(byte) for byte in itself} | {byte: chr(256 + n) for n, byte in enumerate(others)}


def byte_vocabulary() -> Vocabulary:
    """The smallest one: 256 bytes, each its own id, then the harmony specials in their official order."""
    special = {f"<|reserved_{256 + n}|>": 256 + n for n in range(SPECIAL_COUNT) if n not in HARMONY_OFFSETS.values()}
    special |= {name: 256 + offset for name, offset in HARMONY_OFFSETS.items()}
    return Vocabulary({bytes([byte]): byte for byte in range(256)}, special, PATTERN)


def to_json(vocabulary: Vocabulary) -> dict[str, Any]:
    """The content of a tokenizer.json that has no merges, for the vocabulary of single bytes."""
    spelling = byte_characters()
    vocab = {"".join(spelling[byte] for byte in token): rank for token, rank in vocabulary.ranks.items()}
    split = {"type": "Split", "pattern": {"Regex": vocabulary.pattern}, "behavior": "Isolated", "invert": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    by_id = sorted(vocabulary.special.items(), key=lambda item: item[1])
    return {
        "version": "1.0",
        "added_tokens": [{"id": token, "content": name} | flags for name, token in by_id],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocab, "merges": [], "ignore_merges": True},
    }


def read(path: Path) -> Vocabulary:
    """Read a tokenizer.json.

    Raises
    ------
    InputError
        Where it is not a byte-level BPE whose ids are ranks.
    """
    content = read_json(path)
    try:
        vocab = content["model"]["vocab"]
        merges = content["model"].get("merges", [])
        special = {token["content"]: token["id"] for token in content["added_tokens"]}
        pattern = _pattern(content["pre_tokenizer"])
        byte_of = {character: byte for byte, character in byte_characters().items()}
        ranks = {
            bytes(map(byte_of.__getitem__, spelled)): rank for spelled, rank in vocab.items() if spelled not in special
        }
        _check_ids(path, ranks, special)
        _check_merges(path, merges, vocab)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a byte-level BPE tokenizer: {type(error).__name__} {error}") from None
    return Vocabulary(ranks, special, pattern)


def _pattern(pre_tokenizer: dict[str, Any]) -> str:
    steps = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    return next(step["pattern"]["Regex"] for step in steps if step["type"] == "Split")


def _check_ids(path: Path, ranks: dict[bytes, int], special: dict[str, int]) -> None:
    for token, rank in [*ranks.items(), *special.items()]:
        if type(rank) is not int or not 0 <= rank < 2**31:
            raise InputError(f"{path} gives {token!r} the id {rank!r}; expected a number from 0 on")
    if len({*ranks.values(), *special.values()}) < len(ranks) + len(set(special.values())):
        raise InputError(f"{path} gives one id to two tokens")
    for byte in range(256):
        if bytes([byte]) not in ranks:
            raise InputError(f"{path} has no token for the byte {byte}")


def _check_merges(path: Path, merges: list[Any], vocab: dict[str, int]) -> None:
    """Merges must stand in the order of the ids they make; otherwise ids are not ranks."""
    last = -1
    for merge in merges:
        first, second = merge.split(" ") if isinstance(merge, str) else merge
        made = vocab[first + second]
        if made < last:
            raise InputError(
                f"{path} merges {first!r} and {second!r} into token {made} after a merge into {last}; "
                "expected the order of the ids, since an id is read as its rank"
            )
        last = made
