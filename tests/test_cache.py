"""The cache: rings and growing layers hand out the right keys, and go back when told to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minioss
from minioss.cache import CHUNK, Cache
from minioss.config import FULL
from minioss.precision import to_bfloat16
from tests.models import small_config
from tests.twins import seeds

pieces = st.lists(st.integers(1, 30), min_size=1, max_size=8)


def numbered(first, count, config):
    """Keys that say which position they stand at."""
    shape = (count, config.num_key_value_heads, config.head_dim)
    return np.broadcast_to(np.arange(first, first + count, dtype=np.float64)[:, None, None], shape)


def extend_all(cache, count):
    """Add ``count`` tokens to every layer; return the positions that each layer hands out."""
    seen = []
    for layer in range(cache.config.num_hidden_layers):
        keys, values = cache.extend(
            layer, numbered(cache.length, count, cache.config), -numbered(cache.length, count, cache.config)
        )
        assert np.array_equal(keys, -values)
        seen.append(keys[:, 0, 0].tolist())
    cache.commit(count)
    return seen


@given(pieces, st.integers(1, 40))
def test_every_layer_sees_what_it_should(counts, window):
    config = small_config(sliding_window=window)
    cache = Cache(config, "float64")
    for count in counts:
        start = cache.length
        for layer, seen in enumerate(extend_all(cache, count)):
            first = 0 if config.layer_types[layer] == FULL else max(0, start - window + 1)
            assert seen == list(range(first, start + count))
    assert cache.length == sum(counts)


@given(seeds, pieces, pieces, pieces, st.integers(1, 40))
def test_bfloat16_storage_is_float32_rounded_in_half_the_bytes(random, before, lost, after, window):
    config = small_config(sliding_window=window)
    wide, narrow = Cache(config, "float32"), Cache(config, "float32", "bfloat16")

    def same(counts):
        for count in counts:
            for layer in range(config.num_hidden_layers):
                both = random.standard_normal((2, count, *wide.heads)).astype(np.float32)
                for kept, rounded in zip(wide.extend(layer, *both), narrow.extend(layer, *both), strict=True):
                    assert np.array_equal(rounded.decode(), to_bfloat16(kept))
            wide.commit(count), narrow.commit(count)

    same(before)
    snapshots = wide.snapshot(), narrow.snapshot()
    same(lost)
    wide.restore(snapshots[0]), narrow.restore(snapshots[1])
    same(after)
    assert 2 * narrow.nbytes == wide.nbytes


def test_memory_of_the_windows_stays_flat_and_full_layers_grow_in_chunks():
    config = small_config(sliding_window=8)
    cache = Cache(config, "float32")
    a_token = 2 * 4 * config.num_key_value_heads * config.head_dim
    rings = 2 * 8 * a_token
    extend_all(cache, 1)
    assert cache.nbytes == rings + CHUNK * a_token
    extend_all(cache, CHUNK - 1)
    assert cache.nbytes == rings + CHUNK * a_token
    for _ in range(20):
        extend_all(cache, 100)
    assert cache.nbytes <= rings + 1.25 * (cache.length + CHUNK) * a_token


def test_what_is_not_committed_has_not_happened():
    cache = Cache(small_config(), "float64")
    extend_all(cache, 20)
    cache.extend(0, numbered(90, 15, cache.config), numbered(90, 15, cache.config))
    cache.extend(1, numbered(90, 15, cache.config), numbered(90, 15, cache.config))
    assert extend_all(cache, 1)[:2] == [list(range(13, 21)), list(range(21))]


@settings(max_examples=50)
@given(pieces, pieces, pieces)
def test_restoring_a_snapshot_forgets_what_came_after(before, after, other):
    cache = Cache(small_config(), "float64")
    for count in before:
        extend_all(cache, count)
    snapshot = cache.snapshot()
    for lost in (after, other):
        for count in lost:
            extend_all(cache, count)
        cache.restore(snapshot)
        assert cache.length == sum(before)
    assert extend_all(cache, 1)[1] == list(range(cache.length))
    assert extend_all(cache, 1)[0] == list(range(max(0, cache.length - 8), cache.length))


def test_a_snapshot_copies_the_rings_alone():
    cache = Cache(small_config(), "float64")
    extend_all(cache, 3000)
    copied = sum(key.nbytes + value.nbytes for key, value in cache.snapshot().rings.values())
    assert copied == sum(layer.key.nbytes + layer.value.nbytes for layer in (cache.layers[0], cache.layers[2]))
    assert copied < cache.nbytes / 100


def test_snapshots_that_no_longer_hold_are_refused():
    cache, other = (Cache(small_config(), "float64") for _ in range(2))
    extend_all(cache, 5)
    early = cache.snapshot()
    extend_all(cache, 5)
    late = cache.snapshot()
    cache.restore(early)
    extend_all(cache, 9)
    with pytest.raises(minioss.InputError, match="the snapshot of length 10 is of another cache, or of a text"):
        cache.restore(late)
    with pytest.raises(minioss.InputError, match="the snapshot of length 0 is of another cache"):
        cache.restore(other.snapshot())
    cache.restore(early)
    assert cache.length == 5
