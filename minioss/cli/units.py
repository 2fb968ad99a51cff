"""Numbers as people read them."""

from minioss.machine import MappedPages

PREFIXES = ("", "k", "M", "G", "T")


def size(count: float) -> str:
    """Bytes, in powers of ten: 1.16 GB."""
    return scaled(count, "B")


def scaled(count: float, unit: str = "") -> str:
    """A number with the prefix that leaves one to three digits before the point: 3.61 G."""
    for prefix in PREFIXES:
        if count < 1000 or prefix == PREFIXES[-1]:
            return f"{count:.2f} {prefix}{unit}".rstrip() if prefix else f"{count:.0f} {unit}".rstrip()
        count /= 1000
    raise AssertionError


def pages(mapped: MappedPages | None) -> str:
    """Which pages the mapped files were read through: those that were touched, no others are known."""
    if mapped is None:
        return "the system does not say"
    small, large, touched = _of_page(mapped.page_bytes), _of_page(mapped.large_page_bytes), size(mapped.touched_bytes)
    if not mapped.in_large_bytes:
        return f"{small} for the {touched} touched so far"
    return f"{large} for {size(mapped.in_large_bytes)} of the {touched} touched so far, {small} for the rest"


def _of_page(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"
