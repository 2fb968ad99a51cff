"""Measuring: that every figure follows from its parts. No figure itself is held to anything."""

import json
import subprocess
import sys

import numpy as np
import pytest

import minioss
from minioss import bench, kernels, machine
from minioss.bench import Plan, measure
from minioss.cli import main
from minioss.parts import PARTS, parts
from tests.models import small_config, synthesize

KEYS = {
    "model": ["kernels", "instruction_set", "threads", "dtype", "activations", "dense", "cache"],
    "machine": [
        "read_gigabytes_per_second",
        "read_before_gigabytes_per_second",
        "read_after_gigabytes_per_second",
        "read_buffer_bytes",
        "weights_gigabytes_per_second",
        "product",
        "peak_gigaops_per_second",
    ],
    "opening": ["open_seconds", "first_token_seconds", "first_prompt_tokens"],
    "prefill": ["prompt_tokens", "seconds", "tokens_per_second", "gigaflop_per_second", "peak_percent"],
    "decode": [
        "depth_tokens",
        "new_tokens",
        "seconds_per_token",
        "tokens_per_second",
        "bytes_per_token",
        "gigabytes_per_second",
        "share_outside_kernels",
        "read_percent",
    ],
    "batch": ["prompts", "new_tokens", "seconds_per_step", "tokens_per_second"],
    "memory": ["own_bytes", "mapped", "peak_bytes"],
}


@pytest.fixture(autouse=True)
def small_buffer(monkeypatch):
    monkeypatch.setattr(bench, "BUFFER_BYTES", 10**6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of three layers with no tokenizer."""
    return synthesize(tmp_path_factory.mktemp("models"), small_config())


def quick(folder, *options, capsys):
    """What `minioss bench` prints."""
    assert main(["bench", str(folder), "--new-tokens", "3", *options]) == 0
    return capsys.readouterr().out


def numbers(value):
    """All numbers in what JSON holds."""
    if isinstance(value, dict | list):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from numbers(entry)
    elif isinstance(value, int | float):
        yield value


def test_json_has_the_documented_keys(folder, capsys):
    options = ("--json", "--prompt-tokens", "5,9", "--prompt-tokens", "4", "--depths", "7,0,7", "--batch", "3")
    result = json.loads(quick(folder, *options, capsys=capsys))
    assert list(result) == ["folder", "model", "machine", "opening", "prefill", "decode", "batch", "memory"]
    for name, keys in KEYS.items():
        for group in result[name] if isinstance(result[name], list) else [result[name]]:
            assert list(group) == keys, name
            for key in keys:
                assert key in measure.__doc__ or key.startswith(("read_before", "read_after")), key
    assert [row["prompt_tokens"] for row in result["prefill"]] == [5, 9, 4]
    assert [row["depth_tokens"] for row in result["decode"]] == [0, 7]
    assert result["batch"]["prompts"] == 3
    assert all(np.isfinite(number) and number >= 0 for number in numbers(result))


@pytest.mark.skipif(bool(kernels.MISSING), reason="the extension is not built")
@pytest.mark.parametrize("dense", ["bfloat16", "int8"])
def test_weights_are_read_where_they_lie(folder, dense, monkeypatch, capsys):
    assert "where they lie" not in quick(folder, "--prompt-tokens", "4", capsys=capsys)  # too small to tell
    monkeypatch.setattr(bench, "LARGE_BYTES", 1)
    read = []
    monkeypatch.setattr(
        kernels, "read_seconds", lambda array, threads: read.append(array.nbytes) or 1e-9 * array.nbytes
    )
    result = measure(folder, Plan((4,), (0,), 1), dense=dense)
    assert result["machine"]["weights_gigabytes_per_second"] == pytest.approx(1)
    model = minioss.load(folder, dense=dense)
    found = parts(model.weights, model.config)
    # Biases, scales, norms and the router are left out.
    some = found["attention"].nbytes_read + found["experts"].nbytes_read + found["unembedding"].nbytes_read
    assert 0.85 * some < sum(each for each in read if each != bench.BUFFER_BYTES) / bench.READS < some
    assert "and the weights of a token where they lie at 1.0 GB/s" in quick(folder, "--dense", dense, capsys=capsys)


@pytest.mark.skipif(bool(kernels.MISSING), reason="the extension is not built")
@pytest.mark.parametrize("activations", ["float32", "bfloat16", "int8"])
def test_figures_follow_from_their_parts(folder, activations):
    result = measure(folder, Plan((6,), (0, 20), 3, 2), activations=activations, threads=2)
    limits = result["machine"]
    before, after = limits["read_before_gigabytes_per_second"], limits["read_after_gigabytes_per_second"]
    assert limits["read_gigabytes_per_second"] == pytest.approx((before + after) / 2)
    assert limits["product"] == kernels.products()[activations]
    (prefill,) = result["prefill"]
    assert prefill["tokens_per_second"] == pytest.approx(6 / prefill["seconds"])
    peak = limits["peak_gigaops_per_second"]
    assert prefill["peak_percent"] == pytest.approx(100 * prefill["gigaflop_per_second"] / peak)
    for row in result["decode"]:
        assert row["tokens_per_second"] == pytest.approx(1 / row["seconds_per_token"])
        rate = row["bytes_per_token"] / row["seconds_per_token"] / 1e9
        assert row["gigabytes_per_second"] == pytest.approx(rate)
        assert row["read_percent"] == pytest.approx(100 * rate / limits["read_gigabytes_per_second"])
        assert 0 < row["share_outside_kernels"] < 1
    batch = result["batch"]
    assert batch["tokens_per_second"] == pytest.approx(2 / batch["seconds_per_step"])
    assert result["opening"]["first_token_seconds"] > result["opening"]["open_seconds"] > 0


def test_work_of_a_prompt(folder):
    """Two a multiply-add of every map, and the unembedding for the last token alone."""
    (row,) = measure(folder, Plan((6,), (0,), 1))["prefill"]
    attention = 96 * (6 + 2 + 2) * 16 + 6 * 16 * 96
    a_layer = attention + 8 * 96 + 2 * (2 * 64 * 96 + 96 * 64)
    work = 2 * (6 * 3 * a_layer + 101 * 96)
    assert row["gigaflop_per_second"] * row["seconds"] * 1e9 == pytest.approx(work)


def test_bytes_of_a_token_are_those_of_the_weights_in_use(folder):
    def read(depth=0, **options):
        return measure(folder, Plan((1,), (depth,), 2), **options)["decode"][0]["bytes_per_token"]

    model = minioss.load(folder)
    weights = parts(model.weights, model.config)["all"].nbytes_read
    a_position = 2 * 2 * 16 * 4  # keys and values, heads, head size, float32
    assert read() == weights + 3 * a_position
    # Two of the three layers see a window of 8 tokens.
    assert read(depth=30) == weights + (31 + 8 + 8) * a_position
    assert read(depth=30, cache="bfloat16") == weights + (31 + 8 + 8) * a_position // 2
    rounded = minioss.load(folder, dense="int8")
    smaller = parts(rounded.weights, rounded.config)["all"].nbytes_read
    assert smaller < weights and read(dense="int8") == smaller + 3 * a_position


def test_parts_add_up(folder):
    model = minioss.load(folder)
    found = parts(model.weights, model.config)
    assert list(found) == [*PARTS, "all"]
    for column in range(4):
        assert found["all"][column] == sum(found[name][column] for name in PARTS)
    assert found["experts"].nbytes_read == found["experts"].nbytes // 4  # 2 of 8 experts
    assert found["embedding"].nbytes_read == 2 * 96


def test_numpy_alone(folder, capsys):
    result = measure(folder, Plan((4,), (0,), 2), kernels="numpy")
    assert result["model"]["kernels"] == "numpy" and result["model"]["instruction_set"] is None
    assert result["decode"][0]["share_outside_kernels"] is None
    text = quick(folder, "--kernels", "numpy", "--prompt-tokens", "4", capsys=capsys)
    assert "kernels     NumPy\n" in text and text.rstrip().endswith(" all")


def test_without_the_extension_limits_are_not_measured(folder, capsys, monkeypatch):
    monkeypatch.setattr(kernels, "MISSING", "no compiler")
    result = json.loads(quick(folder, "--prompt-tokens", "4", "--json", capsys=capsys))
    assert set(result["machine"].values()) == {None}
    assert result["prefill"][0]["peak_percent"] is None and result["decode"][0]["read_percent"] is None
    text = quick(folder, "--prompt-tokens", "4", capsys=capsys)
    assert "machine     its limits are not measured: the extension is not built" in text
    assert text.count("not measured") == 3


def test_what_people_read(folder, capsys):
    text = quick(folder, "--prompt-tokens", "4,8", "--depths", "0,9", "--batch", "2", capsys=capsys)
    for line in ("prompt of 4 ", "prompt of 8 ", "text at depth 0 ", "text at depth 9 ", "2 texts at once "):
        assert f"\n{line}" in text
    for name in ("folder", "kernels", "numbers", "machine", "opening", "pages"):
        assert f"{name:12}" in text
    assert "dtype float32, activations float32, dense bfloat16, cache float32" in text


def test_the_whole_context_and_no_more(tmp_path):
    folder = synthesize(tmp_path, small_config(max_position_embeddings=24))
    result = measure(folder, Plan((24,), (4, 20), 4, 2))
    assert [row["depth_tokens"] for row in result["decode"]] == [4, 20]
    for plan in (Plan((25,), (0,), 4), Plan((1,), (21,), 4), Plan((1,), (0,), 25)):
        with pytest.raises(minioss.InputError, match="expected at most max_position_embeddings = 24"):
            measure(folder, plan)


def test_the_clock_counts_kernels_alone_and_changes_nothing(folder):
    model = minioss.load(folder)
    timed = bench.TimedModel(**vars(model))
    assert np.array_equal(timed([1, 2, 3]), model([1, 2, 3]))
    assert (timed.clock.seconds > 0) == (not kernels.MISSING)


def test_progress_is_told(folder):
    told = []

    def progress(label):
        return lambda done, total: told.append((label, done, total))

    measure(folder, Plan((4,), (0, 6), 2, 2), progress)
    assert {label for label, done, total in told if done == total} == {
        "warming up",
        "a prompt of 4 tokens",
        "2 prompts at once",
        "filling the cache to 6 tokens",
        "decoding at depth 0",
        "decoding at depth 6",
    }


def test_mapped_pages_count_what_was_touched(folder, tmp_path):
    path = folder / "model.safetensors"
    model = minioss.load(folder)
    model([1, 2, 3])
    found = machine.mapped_pages([path])
    if found is None:
        pytest.skip("the system does not say")
    assert 0 <= found.in_large_bytes <= found.touched_bytes
    assert found.touched_bytes > 0 and found.page_bytes <= found.large_page_bytes
    assert machine.mapped_pages([tmp_path / "nowhere"]).touched_bytes == 0


def test_the_peak_is_of_this_process_alone():
    """Not of a large one that started it."""
    large = np.ones(50_000_000)
    code = "import minioss.machine as machine; print(machine.peak_memory())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < large.nbytes / 2
