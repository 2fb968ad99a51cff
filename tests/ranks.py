"""The ranks of o200k, offline: the package quicktok ships them; tiktoken and openai-harmony take them as a file."""

import base64
import struct
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

FILENAME = "fb374d419588a4632f3f557e76b4b70aebbca790"
SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"


@cache
def ranks() -> dict[bytes, int]:
    """Rank by token."""
    data = (Path(find_spec("quicktok").origin).parent / "data" / "o200k.vocab").read_bytes()
    (count,) = struct.unpack_from("<I", data)
    found, place = {}, 4
    for _ in range(count):
        (size,) = struct.unpack_from("<H", data, place)
        token = data[place + 2 : place + 2 + size]
        (found[token],) = struct.unpack_from("<I", data, place + 2 + size)
        place += 6 + size
    return found


def store_ranks(folder: Path) -> None:
    """Write the file that tiktoken would have downloaded."""
    lines = sorted(ranks().items(), key=lambda item: item[1])
    content = b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in lines)
    assert sha256(content).hexdigest() == SHA256
    (folder / FILENAME).write_bytes(content)
