"""What this machine has, and what this process uses of it."""

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


def total_memory() -> int | None:
    """Bytes of memory in this machine, or None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def available_memory() -> int | None:
    """Bytes that new work could take without swapping, or None where the system does not say (Linux does)."""
    return _kilobytes("/proc/meminfo", "MemAvailable")


def own_memory() -> int | None:
    """Bytes that this process holds beyond mapped files, or None where the system does not say (Linux does)."""
    return _kilobytes("/proc/self/status", "RssAnon")


def _kilobytes(path: str, name: str) -> int | None:
    """The bytes that a line like ``name: 12 kB`` of a file of /proc stands for."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)


def peak_memory() -> int | None:
    """The most bytes that this process ever had in memory, mapped pages included, or None (on Windows)."""
    # Linux's getrusage remembers the process from which this one was started; its status does not.
    if own := _kilobytes("/proc/self/status", "VmHWM"):
        return own
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class MappedPages(NamedTuple):
    """How much of some mapped files this process has touched, how much of that in large pages, and their sizes."""

    touched_bytes: int
    in_large_bytes: int
    page_bytes: int
    large_page_bytes: int


def mapped_pages(paths: Iterable[Path]) -> MappedPages | None:
    """The pages through which this process sees mapped files so far, or None where the system does not say.

    Large ones spare the processor most look-ups of addresses. Linux says which they are.
    """
    names = {str(path.resolve()) for path in paths}
    try:
        maps = Path("/proc/self/smaps").read_text()
        large_page = int(Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size").read_text())
    except OSError:
        return None
    touched = in_large = 0
    # A mapping's first line is: addresses, permissions, offset, device, inode, path.
    for mapping in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", maps, flags=re.MULTILINE):
        first, _, facts = mapping.partition("\n")
        if "/" + first.partition("/")[2] in names:
            sizes = dict(re.findall(r"^(Rss|FilePmdMapped): +(\d+) kB", facts, re.MULTILINE))
            touched += 1024 * int(sizes["Rss"])
            in_large += 1024 * int(sizes.get("FilePmdMapped", 0))
    return MappedPages(touched, in_large, os.sysconf("SC_PAGE_SIZE"), large_page)
