"""The cache: the keys and values of the tokens already seen.

Later tokens look at earlier ones, never the other way round, so keys and values once computed stay right. A full layer
keeps those of every token; its arrays grow in chunks. A sliding layer needs only the last ``window`` tokens: its arrays
are rings, where the token at position p lies in slot p mod window. Its memory stays flat however long the text grows.

The model extends every layer by the tokens of one piece of the prompt, and then commits. Until the commit nothing that
was there is overwritten: a call that is interrupted leaves the cache as it was after the last whole piece.

Source: Jiang et al., "Mistral 7B" (2023), section 2, for the rings.
"""

from dataclasses import dataclass
from weakref import WeakSet

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minioss import bfloat16, kernels
from minioss.bfloat16 import BFloat16Array
from minioss.config import Config
from minioss.errors import InputError
from minioss.linear import Weight

CHUNK = 1024  # tokens


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A state to come back to: ``length``, how much of the full layers counts, and a copy of the rings."""

    length: int
    rings: dict[int, tuple[NDArray, NDArray]]


class FullLayer:
    """Keys and values of all tokens in ``dtype``, head by head: (H, capacity, K); ``heads`` is (H, K)."""

    def __init__(self, heads: tuple[int, int], dtype: DTypeLike) -> None:
        self.key, self.value = np.empty((2, heads[0], 0, heads[1]), dtype)

    def extend(self, length: int, key_HTK: NDArray, value_HTK: NDArray) -> tuple[NDArray, NDArray]:
        """Write T tokens behind the first ``length``, and give all that count: (H, S, K) each."""
        end = length + key_HTK.shape[1]
        if end > self.key.shape[1]:
            self.key, self.value = (self._grown(old[:, :length], end) for old in (self.key, self.value))
        self.key[:, length:end], self.value[:, length:end] = key_HTK, value_HTK
        return self.key[:, :end], self.value[:, :end]

    def _grown(self, old: NDArray, end: int) -> NDArray:
        # A quarter more than before, so that a long text is not copied once a chunk.
        capacity = -(-max(end, old.shape[1] * 5 // 4) // CHUNK) * CHUNK
        grown = np.empty((len(old), capacity, old.shape[2]), old.dtype)
        grown[:, : old.shape[1]] = old
        return grown


class SlidingLayer:
    """Keys and values of the last ``window`` tokens in ``dtype``: rings of (H, window, K); ``heads`` is (H, K)."""

    def __init__(self, window: int, heads: tuple[int, int], dtype: DTypeLike) -> None:
        self.key, self.value = np.zeros((2, heads[0], window, heads[1]), dtype)
        self.pending: tuple[NDArray, NDArray] | None = None

    def extend(self, length: int, key_HTK: NDArray, value_HTK: NDArray) -> tuple[NDArray, NDArray]:
        """Give what T tokens after the first ``length`` may see, with themselves: (H, S, K) each."""
        window = self.key.shape[1]
        # The first new query sees window - 1 tokens before itself: up to the ring's end, and on from its start.
        first = max(0, length - window + 1)
        start, end = first % window, first % window + length - first
        older, newer = slice(start, min(end, window)), slice(0, max(0, end - window))
        self.pending = key_HTK, value_HTK
        rings = (self.key, key_HTK), (self.value, value_HTK)
        return tuple(np.concatenate([ring[:, older], ring[:, newer], new_HTK], axis=1) for ring, new_HTK in rings)

    def commit(self, length: int) -> None:
        """Write the tokens that came after the first ``length`` into the rings."""
        window = self.key.shape[1]
        key_HTK, value_HTK = self.pending
        T = key_HTK.shape[1]
        kept = min(window, T)
        slots = np.arange(length + T - kept, length + T) % window
        self.key[:, slots], self.value[:, slots] = key_HTK[:, -kept:], value_HTK[:, -kept:]
        self.pending = None


class Cache:
    """What one prompt has seen so far, in every layer.

    Parameters
    ----------
    config : the model's shape
    dtype : float32 or float64, the type of the model's activations
    storage : "float32" to keep keys and values in that type, whichever it is, or "bfloat16"

    Raises
    ------
    InputError
        Where ``storage`` is neither, or is bfloat16 and ``dtype`` is float64.
    """

    def __init__(self, config: Config, dtype: DTypeLike, storage: str = "float32") -> None:
        if storage not in ("float32", "bfloat16"):
            raise InputError(f"cache is {storage!r}; expected 'float32' or 'bfloat16'")
        if storage == "bfloat16" and np.dtype(dtype) != np.float32:
            raise InputError("cache is 'bfloat16' and dtype is float64; expected float32 for one of them")
        self.config = config
        self.dtype = np.dtype(dtype)
        self.storage = storage
        self.heads = (config.num_key_value_heads, config.head_dim)
        self.length = 0
        stored = np.dtype(np.uint16) if storage == "bfloat16" else self.dtype
        self.layers = [
            FullLayer(self.heads, stored) if window is None else SlidingLayer(window, self.heads, stored)
            for window in map(self.window, range(config.num_hidden_layers))
        ]
        self._snapshots: WeakSet[Snapshot] = WeakSet()

    @kernels.twin
    def window(self, layer: int) -> int | None:
        """How many tokens, itself included, a query of this layer sees; ``None`` means all."""
        return self.config.window(layer)

    @property
    def nbytes(self) -> int:
        """Bytes held by the keys and values of all layers."""
        return sum(layer.key.nbytes + layer.value.nbytes for layer in self.layers)

    @kernels.twin
    def extend(self, layer: int, key_THK: NDArray, value_THK: NDArray) -> tuple[Weight, Weight]:
        """Add a layer's keys and values of T new tokens.

        Returns
        -------
        key_SHK, value_SHK : (S, H, K)
            All that the new queries may see, oldest first; the last T are the new ones.
        """
        narrow = self.storage == "bfloat16"
        new = (bfloat16.encode(each) if narrow else each for each in (key_THK, value_THK))
        seen = self.layers[layer].extend(self.length, *(each.swapaxes(0, 1) for each in new))
        key_SHK, value_SHK = (each.swapaxes(0, 1) for each in seen)
        return (BFloat16Array(key_SHK), BFloat16Array(value_SHK)) if narrow else (key_SHK, value_SHK)

    def commit(self, count: int) -> None:
        """End a call that added ``count`` tokens to every layer."""
        if count == 0:
            return
        for layer in self.layers:
            if isinstance(layer, SlidingLayer):
                layer.commit(self.length)
        self.length += count

    def snapshot(self) -> Snapshot:
        """Remember this state: copies of the rings; of the full layers, the length alone."""
        rings = {
            index: (layer.key.copy(), layer.value.copy())
            for index, layer in enumerate(self.layers)
            if isinstance(layer, SlidingLayer)
        }
        snapshot = Snapshot(self.length, rings)
        self._snapshots.add(snapshot)
        return snapshot

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot of this cache. It may be restored again and again.

        Raises
        ------
        InputError
            Where the snapshot is of another cache, or was taken after a state that the cache
            has gone back to since: its tokens in the full layers may be overwritten.
        """
        if snapshot not in self._snapshots:
            raise InputError(
                f"the snapshot of length {snapshot.length} is of another cache, or of a text that "
                "this cache has gone back from; expected one on the way to its present state"
            )
        for index, (key, value) in snapshot.rings.items():
            self.layers[index].key[:], self.layers[index].value[:] = key, value
        self.length = snapshot.length
        self._snapshots = WeakSet(other for other in self._snapshots if other.length <= snapshot.length)
