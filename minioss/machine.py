"""What this machine has, and what this process uses of it."""

import os
import sys
from pathlib import Path


def total_memory() -> int | None:
    """Bytes of memory in this machine, or None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def own_memory() -> int | None:
    """Bytes that this process holds beyond mapped files, or None where the system does not say (Linux does)."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon:")), None)


def peak_memory() -> int | None:
    """The most bytes that this process ever had in memory, mapped pages included, or None (on Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
