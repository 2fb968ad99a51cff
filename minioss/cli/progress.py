"""A progress bar on stderr for what takes longer than a second."""

import sys
import time

WIDTH = 30


class ProgressBar:
    """Call it with (done, total). It shows itself after a second, on a terminal, and wipes itself when done."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._start = self._drawn = time.monotonic()
        self._shown = False

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._start < 1 or not sys.stderr.isatty():
            return
        if done < total and now - self._drawn < 0.1 and self._shown:
            return
        self._drawn, self._shown = now, True
        filled = WIDTH * done // total
        left = (now - self._start) * (total - done) / max(done, 1)
        bar = "█" * filled + "░" * (WIDTH - filled)
        print(f"\r\x1b[K{self._label} {bar} {100 * done // total:3d} %, {left:.0f} s left", end="", file=sys.stderr)
        sys.stderr.flush()
        if done >= total:
            self.wipe()

    def wipe(self) -> None:
        """Remove the bar from the terminal."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._shown = False
