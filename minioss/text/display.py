"""Text that comes from a model or a file, on its way to a terminal."""

PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | dict.fromkeys(
    range(0x7F, 0xA0), "␡"
)


def harmless(text: str) -> str:
    """The text with pictures of control characters, which could do anything to a terminal. Line ends and tabs stay."""
    return text.translate(PICTURES)
