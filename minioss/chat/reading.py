"""What the model has read of a conversation, and how to go on from there.

From turn to turn a conversation changes not only at its end: the reasoning of earlier turns is
dropped, and the answer after it moves forward. What lies before the first token that differs
need not be computed again. The full layers of a cache can be cut anywhere, but the rings of the
sliding layers forget, so the way back leads to a snapshot: there is one at the end of each of the
last prompts.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from minioss.cache import Snapshot
from minioss.model import Model
from minioss.text.generation import Token, generate

# Each holds the rings: 6 MB for the 20b.
SNAPSHOTS = 8


class Reading:
    """One conversation, as far as the model has read it.

    Parameters
    ----------
    model : a loaded model

    Attributes
    ----------
    read_tokens : how many tokens of prompts were computed so far
    new_tokens : how many were written
    read_seconds, write_seconds : time spent on each
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._snapshots: deque[Snapshot] = deque(maxlen=SNAPSHOTS)
        self.read_tokens = self.new_tokens = 0
        self.read_seconds = self.write_seconds = 0.0
        self._start_again()

    def go_on(self, ids: Sequence[int], **options: Any) -> Iterator[Token]:
        """Read what is new in ``ids``, and write what follows.

        Parameters
        ----------
        ids : the whole conversation so far, at least one token
        **options : of `generate`
        """
        known = self._go_back(ids)
        self.read_tokens += len(ids) - known
        self._text = list(ids)
        clock = time.perf_counter()
        for token in generate(self.model, ids[known:], cache=self._cache, **options):
            now = time.perf_counter()
            if len(self._text) == len(ids):
                self._snapshots.append(self._cache.snapshot())
                self.read_seconds += now - clock
            else:
                self.write_seconds += now - clock
            self._text.append(int(token))
            self.new_tokens += 1
            yield token
            clock = time.perf_counter()

    def _go_back(self, ids: Sequence[int]) -> int:
        """Make the cache hold a beginning of ``ids``, as long as can be, and return how many tokens that is."""
        # The last token is always read: its logits say what follows.
        same = common_length(self._text[: self._cache.length], ids[:-1])
        if same < self._cache.length:
            while self._snapshots and self._snapshots[-1].length > same:
                self._snapshots.pop()
            if self._snapshots:
                self._cache.restore(self._snapshots[-1])
            else:
                self._start_again()
        return self._cache.length

    def _start_again(self) -> None:
        self._cache = self.model.new_cache()
        self._text: list[int] = []


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two texts have in common from the start.

    Examples
    --------
    >>> common_length([1, 2, 3], [1, 2, 4, 5])
    2
    """
    shorter = min(len(one), len(other))
    return next((place for place in range(shorter) if one[place] != other[place]), shorter)
