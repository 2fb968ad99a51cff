"""The seam: what is marked can be replaced for a while; a kernel gives what its NumPy twin gives."""

import os
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minioss
from minioss import kernels, mxfp4


@pytest.fixture
def core():
    if kernels.MISSING and os.environ.get("MINIOSS_REQUIRE_CORE") != "1":
        pytest.skip(f"the extension is not built: {kernels.MISSING}")
    from minioss import _core

    return _core


@given(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 3)), st.booleans(), st.data())
def test_decode_twins(shape, strided, data):
    blocks = data.draw(hnp.arrays(np.uint8, (*shape, 16)))
    scales = data.draw(hnp.arrays(np.uint8, shape))
    if strided:
        blocks, scales = blocks[::-1, ::2], scales[::-1, ::2]
    plain = mxfp4.decode(blocks, scales)
    with kernels.using(kernels.CYTHON):
        assert np.array_equal(mxfp4.decode(blocks, scales), plain, equal_nan=True)


def test_the_kernel_runs_and_takes_no_nonsense(core):
    blocks, scales = np.zeros((2, 3, 16), np.uint8), np.zeros((2, 3), np.uint8)
    assert core.mxfp4_decode(blocks, scales).shape == (2, 96)
    with pytest.raises(ValueError, match=r"blocks have shape \(2, 3, 16\); expected \(2, 2, 16\)"):
        core.mxfp4_decode(blocks, scales[:, :2])
    with pytest.raises(TypeError, match="expected uint8"):
        core.mxfp4_decode(blocks.astype(np.int32), scales)
    with pytest.raises(TypeError, match="float32 alone"):
        core.mxfp4_decode(blocks, scales, np.float64)
    with pytest.raises(AttributeError):
        core.mxfp4_decode(None, None)


def test_unaligned_and_read_only_input(core, random):
    raw = random.integers(0, 256, 16 * 6 + 7, dtype=np.uint8)
    raw.flags.writeable = False
    blocks, scales = raw[1:97].reshape(6, 16), raw[97:103]
    assert np.array_equal(core.mxfp4_decode(blocks, scales), mxfp4.decode(blocks, scales), equal_nan=True)


def test_a_marked_function_is_replaced_for_the_length_of_a_with():
    arguments = np.zeros((1, 16), np.uint8), np.full(1, 127, np.uint8)
    with kernels.using({"mxfp4.decode": lambda *_: "replaced"}):
        assert mxfp4.decode(*arguments) == "replaced"
    assert mxfp4.decode(*arguments).shape == (32,)


def test_the_choice_stays_within_its_thread():
    seen = []
    with kernels.using({"mxfp4.decode": lambda *_: "replaced"}):
        thread = threading.Thread(
            target=lambda: seen.append(mxfp4.decode(np.zeros((1, 16), np.uint8), np.zeros(1, np.uint8)))
        )
        thread.start()
        thread.join()
    assert isinstance(seen[0], np.ndarray)


def test_every_binding_has_a_marked_function(core):
    import importlib

    for name in kernels.CYTHON:
        module, function = name.split(".")
        assert hasattr(getattr(importlib.import_module(f"minioss.{module}"), function), "__wrapped__")


def test_the_model_uses_the_choice(tiny, monkeypatch, core):
    calls = []
    twin = kernels.CYTHON["mxfp4.decode"]
    monkeypatch.setitem(kernels.CYTHON, "mxfp4.decode", lambda *given: calls.append(1) or twin(*given))
    for choice, dtype, used in [
        ("numpy", "float32", False),
        (None, "float64", False),
        (None, "float32", True),
        ("cython", "float32", True),
    ]:
        calls.clear()
        minioss.load(tiny, dtype=dtype, kernels=choice)([1, 2])
        assert bool(calls) == used


def test_what_cannot_be_is_refused(tiny, monkeypatch):
    with pytest.raises(minioss.InputError, match="kernels is 'fortran'; expected 'numpy', 'cython' or None"):
        minioss.load(tiny, kernels="fortran")
    monkeypatch.setattr(kernels, "MISSING", None)
    with pytest.raises(minioss.InputError, match="float64 runs in NumPy alone"):
        minioss.load(tiny, dtype="float64", kernels="cython")
    monkeypatch.setattr(kernels, "MISSING", "No module named 'minioss._core'")
    with pytest.raises(minioss.InputError, match="the extension minioss._core is not there"):
        minioss.load(tiny, kernels="cython")
