"""Output that appears whole or not at all: written beside its place, and moved there when it is complete."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minioss.errors import InputError


@contextmanager
def whole(out: Path, kind: str, size: int) -> Iterator[Path]:
    """A path to write to. It becomes ``out`` at the end, or is removed where anything goes wrong.

    Parameters
    ----------
    out : the file or folder to make; it must not exist. Folders above it are made
    kind : "file" or "folder", for messages
    size : about how many bytes it will take

    Raises
    ------
    InputError
        Where ``out`` exists, or the disk is too small or fills up.
    """
    if out.exists():
        raise InputError(f"{out} exists; expected a {kind} that is still to be made")
    out.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out.parent).free
    if free < size:
        raise InputError(f"the disk of {out} has {free / 1e9:.3f} GB free; the {kind} takes {size / 1e9:.3f} GB")
    partial = out.with_name(f"{out.name}.partial-{os.getpid()}")
    try:
        yield partial
        partial.rename(out)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise InputError(f"the disk of {out} is full ({error.strerror}); nothing was kept") from None
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
