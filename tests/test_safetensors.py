"""The reader of safetensors files: right on good files, and safe on every other."""

import json
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors import numpy as official

import minioss
from minioss.bfloat16 import BFloat16Array
from minioss.checkpoint import safetensors
from minioss.checkpoint.safetensors import SafetensorsFile

TENSORS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.arange(5, dtype=np.uint8),
    "c": np.arange(4, dtype=np.float16).reshape(4, 1),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("safetensors")


def built(header, data: bytes, length=None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def opened(folder, content: bytes) -> SafetensorsFile:
    path = folder / "file.safetensors"
    path.write_bytes(content)
    return SafetensorsFile(path)


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=5).filter(lambda name: name != "__metadata__"),
        st.tuples(st.sampled_from(["f4", "f2", "u1"]), st.lists(st.integers(1, 4), max_size=3)),
        min_size=1,
        max_size=5,
    )
)
def test_reads_what_the_official_package_writes(folder, described):
    random = np.random.default_rng(0)
    tensors = {name: random.integers(0, 99, shape).astype(dtype) for name, (dtype, shape) in described.items()}
    file = opened(folder, official.save(tensors))
    assert file.entries.keys() == tensors.keys()
    for name, tensor in tensors.items():
        read = file.tensor(name)
        assert read.dtype == tensor.dtype and np.array_equal(read, tensor) and not read.flags.writeable


def test_the_official_package_reads_what_we_write(folder):
    path = folder / "ours.safetensors"
    described = {"a": ("F32", (2, 3)), "b": ("U8", (5,)), "c": ("F16", (4, 1))}
    with open(path, "wb") as file:
        safetensors.write(file, described, [TENSORS["a"][:1], TENSORS["a"][1:], TENSORS["b"], TENSORS["c"]])
    theirs = official.load_file(path)
    assert all(np.array_equal(theirs[name], tensor) for name, tensor in TENSORS.items())
    ours = SafetensorsFile(path)
    assert all(np.array_equal(ours.tensor(name), tensor) for name, tensor in TENSORS.items())
    assert (8 + int.from_bytes(path.read_bytes()[:8], "little")) % 8 == 0


def test_bfloat16_keeps_its_bits_and_may_lie_unaligned(folder):
    header = {"x": entry("U8", [1], 0, 1), "y": entry("BF16", [2], 1, 5)}
    tensor = opened(folder, built(json.dumps(header).encode().ljust(104), b"\0" + b"\x80\x3f\x40\xc0")).tensor("y")
    assert isinstance(tensor, BFloat16Array) and tensor.decode().tolist() == [1.0, -3.0]


def test_a_type_that_the_model_never_has(folder):
    file = opened(folder, built({"x": entry("F8_E5M2", [8], 0, 8)}, bytes(8)))
    with pytest.raises(minioss.InputError, match="has type F8_E5M2; expected one of BF16, F16, F32, F64, I32, I64, U8"):
        file.tensor("x")


def entry(dtype, shape, start, stop):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has 0 bytes; a safetensors file starts with"),
        (b"1234567", "has 7 bytes"),
        (built({}, b"", length=3), "its header has 3 bytes; expected at most 2: the file is truncated"),
        (built({}, b"", length=2**63), "its header has 9223372036854775808 bytes; expected at most 2"),
        (built(b"{nonsense", b""), "is not JSON"),
        (built(b"\xff\xfe", b""), "is not JSON"),
        (built(b"[" * 50_000, b""), "is not JSON"),
        (built(b"[1]", b""), "is list; expected an object"),
        (built(b'{"x": 1, "x": 2}', b""), "a name stands twice"),
        (built({"__metadata__": {"x": 1}}, b""), "expected an object of strings"),
        (built({"x": 1}, b""), "x in .* is 1; expected dtype, shape and data_offsets"),
        (built({"x": {"dtype": "U8"}}, b""), "expected dtype, shape and data_offsets"),
        (built({"x": entry("U8", [True], 0, 1)}, b"0"), "expected dtype, shape and data_offsets"),
        (built({"x": entry("U8", [1.0], 0, 1)}, b"0"), "expected dtype, shape and data_offsets"),
        (built({"x": entry("U8", [1], -1, 0)}, b"0"), r"data_offsets \[-1, 0\]; expected 0 <= start <= end"),
        (built({"x": entry("U8", [1], 1, 0)}, b"0"), r"data_offsets \[1, 0\]"),
        (built({"x": entry("U8", [-1], 0, 1)}, b"0"), r"shape \[-1\]; expected up to 8 positive numbers"),
        (built({"x": entry("U8", [2**62, 2**62], 0, 1)}, b"0"), "its data_offsets .* hold 1"),
        (built({"x": entry("F32", [1], 0, 3)}, b"000"), r"takes 4 bytes; its data_offsets \[0, 3\] hold 3"),
        (
            built({"x": entry("U8", [9], 0, 9)}, b"0123"),
            "ends at byte 9 of the data, which has 4: the file is truncated",
        ),
        (
            built({"x": entry("U8", [3], 0, 3), "y": entry("U8", [3], 2, 5)}, b"01234"),
            "y .* overlaps the tensor before it",
        ),
        (built({"x": entry("U8", [1], 0, 1), "y": entry("U8", [1], 2, 3)}, b"012"), "y .* leaves a gap before it"),
        (built({"x": entry("U8", [1], 0, 1)}, b"012"), "has 3 bytes of data, of which its tensors cover 1"),
    ],
)
def test_broken_files(folder, content, message):
    with pytest.raises(minioss.InputError, match=message):
        opened(folder, content)


def read_all(folder, content: bytes) -> dict[str, bytes] | None:
    """Every tensor's bytes, or None where the file is refused. Anything else is a failure of the test."""
    try:
        file = opened(folder, content)
        tensors = {name: file.tensor(name) for name in file.entries}
    except minioss.InputError:
        return None
    return {name: getattr(tensor, "bits", tensor).tobytes() for name, tensor in tensors.items()}


def hold_safe(folder, content: bytes) -> None:
    """Refused, or read as the official package reads it; never more memory than a fixed overhead beyond the file."""
    tracemalloc.start()
    read = read_all(folder, content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * len(content) + 300_000
    if read is not None:
        with safe_open(folder / "file.safetensors", "np") as theirs:
            assert set(theirs.keys()) == read.keys()


GOOD = official.save(TENSORS)


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_random_bytes(folder, content):
    hold_safe(folder, content)


@settings(max_examples=600)
@given(
    st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4), st.integers(-9, 9)
)
def test_mutated_bytes(folder, changes, more):
    content = bytearray(GOOD)
    for place, value in changes:
        content[place] = value
    content = bytes(content[:more] if more < 0 else content + bytes(more))
    hold_safe(folder, content)


numbers = st.one_of(st.integers(-2, 40), st.sampled_from([2**31, 2**63, 2**64, 10**30, -(2**63), 1.5, None, "1", True]))


@settings(max_examples=600)
@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c", "__metadata__"]),
        st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(["F32", "U8", "BF16", "F16", "I64", "F4", "", 3]),
                "shape": st.lists(numbers, max_size=9),
                "data_offsets": st.lists(numbers, min_size=1, max_size=3),
            }
        ),
        max_size=3,
    ),
    st.integers(0, 40),
)
def test_mutated_headers(folder, header, size):
    hold_safe(folder, built(header, bytes(size)))


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=3), st.integers(0, 30))
def test_mutated_offsets(folder, spans, size):
    header = {f"t{n}": entry("U8", [max(stop - start, 1)], start, stop) for n, (start, stop) in enumerate(spans)}
    hold_safe(folder, built(header, bytes(size)))


def test_a_file_that_is_all_right_is_found_among_the_mutated(folder):
    """The fuzzing above is not blind: the untouched file is read, with its very bytes."""
    assert read_all(folder, GOOD) == {name: tensor.tobytes() for name, tensor in TENSORS.items()}
    with pytest.raises(SafetensorError):
        official.load(GOOD[:-1])
    assert read_all(folder, GOOD[:-1]) is None
