"""The command line, run as a person runs it: what it prints, and what it says when something is wrong."""

import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest

import minioss
from tests.models import change_bytes, small_config, synthesize, write_sparse


def run(*arguments, **options):
    command = [sys.executable, "-m", "minioss", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, **options)


def refused(*arguments):
    """Run what must fail: one line on stderr, no traceback, status 2."""
    done = run(*arguments)
    assert done.returncode == 2 and done.stdout == "", done
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def small(folder):
    return endless(synthesize(folder, small_config(vocab_size=272)))


def endless(out):
    """No stop tokens: random weights would end a text at any time."""
    (out / "generation_config.json").write_text('{"eos_token_id": []}')
    return out


# generate


def test_generate_is_what_the_api_generates(small):
    model, encoding = minioss.load(small), minioss.load_tokenizer(small)
    tokens = minioss.generate(model, encoding.encode("One day"), max_new_tokens=30, seed=3)
    expected = "".join(minioss.stream_text((token for token in tokens if token not in model.stop_tokens), encoding))
    done = run("generate", small, "One day", "--max-new-tokens", 30, "--seed", 3)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout == expected.replace("\r\n", "\n").replace("\r", "\n") + "\n"


def test_verbose_goes_to_stderr(small):
    done = run("generate", small, "One", "--max-new-tokens", 5, "--verbose", "--temperature", 0)
    lines = done.stderr.splitlines()
    assert re.fullmatch(r"prompt: 3 tokens in [\d.]+ s, [\d.]+ tokens/s", lines[0])
    assert re.fullmatch(r"text: 5 tokens, [\d.]+ tokens/s, [\d.]+ s a token", lines[1])
    assert any(line.startswith("peak memory, mapped files included: ") for line in lines)
    assert "tokens/s" not in done.stdout


def test_kernels_and_types(small):
    texts = {
        run("generate", small, "x", "--temperature", 0, "--max-new-tokens", 9, *more).stdout
        for more in ((), ("--kernels", "numpy"))
    }
    assert len(texts) == 1
    for options in (("--dtype", "float64"), ("--activations", "int8", "--dense", "int8", "--cache", "bfloat16")):
        assert run("generate", small, "x", "--max-new-tokens", 2, *options).returncode == 0


def test_logprobs(small):
    lines = run("generate", small, "x", "--logprobs", 2, "--max-new-tokens", 4, "--temperature", 0).stdout.splitlines()
    assert len(lines) == 4
    for line in lines:
        assert re.match(r" *\d+ '.*' +-\d+\.\d{3} +'", line) or re.match(r' *\d+ ".*" +-\d+\.\d{3}', line)


def test_stop_text(small):
    plain = run("generate", small, "One", "--temperature", 0, "--max-new-tokens", 40).stdout.rstrip("\n")
    stop = plain[8:10]
    cut = run("generate", small, "One", "--temperature", 0, "--max-new-tokens", 40, "--stop", stop).stdout
    assert cut == plain[: plain.index(stop)] + "\n"


def test_several_prompts(small, tmp_path):
    (tmp_path / "prompts").write_text("One\nAnother one\n", encoding="utf-8")
    together = run(
        "generate", small, "--prompts", tmp_path / "prompts", "--temperature", 0, "--max-new-tokens", 9, "--verbose"
    )
    alone = [
        run("generate", small, prompt, "--temperature", 0, "--max-new-tokens", 9).stdout
        for prompt in ("One", "Another one")
    ]
    assert together.stdout == f"> One\n{alone[0]}\n> Another one\n{alone[1]}\n"
    assert "text: 18 tokens" in together.stderr


def test_what_generate_says_when_something_is_missing(small, tmp_path):
    assert "the prompt is empty" in refused("generate")
    assert "no prompt given" in refused("generate", small)
    assert f"{tmp_path}/nowhere looks like a folder" in refused("generate", tmp_path / "nowhere")
    assert "the prompt is empty" in refused("generate", small, "")
    assert "there are 3 arguments; expected a folder and one prompt (in quotes?)" in refused(
        "generate", small, "Once", "upon"
    )
    assert "there is no folder" in refused("generate", tmp_path / "nowhere", "x")
    assert "No such file" in refused("generate", small, "--prompts", tmp_path / "nowhere")
    assert "expected one of them" in refused("generate", small, "x", "--prompts", tmp_path)
    (tmp_path / "prompts").write_text("One\n\nTwo\n")
    assert "line 2 of" in refused("generate", small, "--prompts", tmp_path / "prompts")
    (tmp_path / "prompts").write_text("")
    assert "is empty; expected a prompt on each line" in refused("generate", small, "--prompts", tmp_path / "prompts")
    (tmp_path / "prompts").write_bytes(b"\xff\xfe")
    assert "is not UTF-8 text" in refused("generate", small, "--prompts", tmp_path / "prompts")


def test_options_that_are_wrong(small):
    assert "temperature is -1.0" in refused("generate", small, "x", "--temperature", "-1")
    assert "invalid int value: 'many'" in refused("generate", small, "x", "--max-new-tokens", "many")
    assert "unrecognized arguments: --temprature" in refused("generate", small, "x", "--temprature", "1")
    assert (
        "float64 runs in NumPy alone" in refused("generate", small, "x", "--dtype", "float64", "--kernels", "cython")
        or minioss.kernels.MISSING
    )
    assert "invalid choice: 'generat'" in refused("generat")
    assert "a stop string is empty" in refused("generate", small, "x", "--stop", "")


def test_a_prompt_beyond_the_context(folder):
    out = synthesize(folder, small_config(vocab_size=272, max_position_embeddings=64))
    assert "the text would be 65 tokens long; expected at most max_position_embeddings = 64" in refused(
        "generate", out, "x" * 65
    )


def test_a_model_without_a_tokenizer(folder):
    assert "has no tokenizer.json, and no known tokenizer has 101 tokens" in refused(
        "generate", synthesize(folder, small_config()), "x"
    )


def test_nan_scales_end_a_generation_with_layer_and_expert(folder):
    out = synthesize(folder, small_config(vocab_size=272))
    change_bytes(out, "model.layers.2.mlp.experts.gate_up_proj_scales", lambda scales: scales[:].fill(255))
    done = run("generate", out, "Hello")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert re.match(r"minioss: layer 2: expert \d.* gave NaN or infinity", done.stderr)
    checked = run("info", out, "--check")
    assert checked.returncode == 1 and "Traceback" not in checked.stderr
    assert "model.layers.2.mlp.experts.gate_up_proj_scales has 3072 NaN scales" in checked.stdout


# info


def test_info(small):
    done = run("info", small, "--check")
    assert done.returncode == 0 and done.stderr == ""
    assert "layout      huggingface, MXFP4 experts, 1 file(s)" in done.stdout
    assert "layers      2 see a window of 8 tokens, 1 see all" in done.stdout
    assert "tokenizer   272 tokens" in done.stdout
    assert "check       every number is finite" in done.stdout
    assert re.search(r"\npages +(\d+ [KM]iB for .* touched so far|the system does not say)", done.stdout)


@pytest.mark.skipif(bool(minioss.kernels.MISSING), reason="the extension is not built")
def test_info_says_what_multiplies(small):
    done = run("info", small, env=os.environ | {"MINIOSS_SIMD": "scalar"})
    assert (
        "prompts     float32 activations: float32 in plain C\n"
        "            bfloat16 activations: as float32, after rounding\n"
        "            int8 activations: as float32, after rounding\n"
    ) in done.stdout
    names = minioss.kernels.products()
    assert f"prompts     float32 activations: {names['float32']}\n" in run("info", small).stdout


def test_info_adds_up_what_the_released_model_is(tmp_path, monkeypatch, capsys):
    """The figures of the real 20b, from files of the full size that hold nothing."""
    from minioss.checkpoint import writing
    from minioss.checkpoint.loading import open_checkpoint, read_weights
    from minioss.cli.info import cache_bytes
    from minioss.parts import multiply_adds, parts

    monkeypatch.setattr(writing.safetensors, "write", write_sparse)
    config = minioss.preset("20b")
    try:
        minioss.synthesize(tmp_path / "20b", config)
    except minioss.InputError:
        pytest.fail("the file system has no room even for sparse files")
    weights = read_weights(open_checkpoint(tmp_path / "20b"))
    found = parts(weights, config)
    assert found["all"].nbytes / 1e9 == pytest.approx(13.76, abs=0.01)
    assert {part: round(found[part].nbytes_read / 1e9, 2) for part in ("experts", "attention", "unembedding")} == {
        "experts": 1.27,
        "attention": 1.27,
        "unembedding": 1.16,
    }
    # The model card says 20.9 billion parameters, of which 3.6 billion are active.
    assert round(found["all"].parameters / 1e9, 1) == 20.9 and round(found["all"].active / 1e9, 1) == 3.6
    assert [round(2 * count / 1e9, 1) for count in multiply_adds(weights, config)] == [6.1, 1.2]
    assert cache_bytes(config) == (49152, 6291456)


def test_info_on_what_is_no_model(tmp_path):
    assert "there is no folder" in refused("info", tmp_path / "nowhere")
    assert "has no config.json" in refused("info", tmp_path)


# synth


def test_synth_makes_what_is_asked_for(tmp_path):
    done = run(
        "synth",
        tmp_path / "m",
        "--layout",
        "original",
        "--hidden-size",
        64,
        "--num-hidden-layers",
        2,
        "--rms-norm-eps",
        "1e-5",
        "--dense",
    )
    assert (
        done.returncode == 0
        and done.stdout == f"{tmp_path / 'm'}: 2 layers of random weights, seed 0; what it generates is noise\n"
    )
    model = minioss.load(tmp_path / "m")
    assert model.config.hidden_size == 64 and len(model.weights.layers) == 2
    assert "exists; expected a folder that is still to be made" in refused("synth", tmp_path / "m")


def test_synth_on_what_cannot_be(tmp_path):
    assert "invalid choice: '7b'" in refused("synth", tmp_path / "m", "--preset", "7b")
    assert "hidden_size is 100" in refused("synth", tmp_path / "m", "--hidden-size", 100)
    assert "the original layout has no place for it" in refused(
        "synth", tmp_path / "m", "--layout", "original", "--swiglu-alpha", 2
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_synth_on_a_disk_that_fills_up(tmp_path):
    """A limit on the size of files stands for a full disk: the system call fails in the same place."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))\n"
        "from minioss.cli import main; sys.exit(main(['synth', sys.argv[1]]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "m")], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.endswith("is full (File too large); nothing was kept\n")
    assert list(tmp_path.iterdir()) == []


# bench


def test_bench_refuses_what_cannot_be_measured(small, tmp_path):
    assert "there is no folder" in refused("bench", tmp_path / "nowhere")
    assert "prompt_tokens is 0; expected at least 1" in refused("bench", small, "--prompt-tokens", "8,0")
    assert "new_tokens is -1; expected at least 1" in refused("bench", small, "--new-tokens", "-1")
    assert "batch is 0; expected at least 1" in refused("bench", small, "--batch", 0)
    assert "a depth is -1; expected 0 or more" in refused("bench", small, "--depths=-1")
    assert "argument --depths: 'deep' is no list of integers like 0,2048" in refused("bench", small, "--depths", "deep")
    assert "prompt_tokens is 131073; expected at most max_position_embeddings = 131072" in refused(
        "bench", small, "--prompt-tokens", 131073
    )
    assert "64 new tokens at depth 131072 make 131136; expected at most max_position_embeddings = 131072" in refused(
        "bench", small, "--depths", 131072
    )
    assert "threads is 0; expected 1 to 1024" in refused("bench", small, "--threads", 0)


# The terminal


def in_terminal(*arguments, after=0, then=None):
    """Run a command on a pseudo-terminal; once ``after`` bytes are printed, do ``then``. Return output and status."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-m", "minioss", *map(str, arguments)])
    output, end = b"", time.monotonic() + 60
    while time.monotonic() < end:
        try:
            output += os.read(terminal, 4096)
        except OSError:
            break
        if then and len(output) > after:
            then(child)
            then = None
    os.close(terminal)
    return output.decode("utf-8", "replace"), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture(scope="module")
def slow(folder):
    """A model that takes its time."""
    return endless(synthesize(folder, small_config(vocab_size=272, num_hidden_layers=24, hidden_size=512)))


def test_ctrl_c_ends_a_generation_cleanly(slow):
    output, status = in_terminal(
        "generate", slow, "One", "--max-new-tokens", 100_000, after=50, then=lambda child: os.kill(child, signal.SIGINT)
    )
    assert status == 130 and "Traceback" not in output


def test_a_progress_bar_after_a_second(slow, tmp_path):
    (tmp_path / "prompt").write_text("x" * 4000)
    arguments = ("generate", slow, "--prompts", tmp_path / "prompt", "--max-new-tokens", 1)
    output, status = in_terminal(*arguments)
    assert status == 0 and re.search(r"reading the prompts █*░* +\d+ %, \d+ s left", output)
    assert run(*arguments).stderr == ""


def test_a_terminal_gets_no_control_characters(small):
    """Random text is full of them; they could do anything to a terminal."""
    options = ("generate", small, "One", "--max-new-tokens", 200, "--seed", 0)
    output, status = in_terminal(*options)
    assert status == 0 and not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", output)
    assert re.search(r"[\x00-\x08]", run(*options).stdout)


def test_a_reader_that_goes_away_is_no_error(small):
    command = f"{sys.executable} -m minioss generate {small} One --max-new-tokens 300 --seed 1 | head -c 3"
    done = subprocess.run(["bash", "-c", command], capture_output=True)
    assert len(done.stdout) == 3 and done.stderr == b""


def test_a_terminal_that_lacks_a_character_gets_another(small):
    done = run("generate", small, "é", "--max-new-tokens", 20, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and done.stderr == ""


def test_version_and_help():
    assert run("--version").stdout == f"minioss {minioss.__version__}\n"
    for command in ("", "info", "generate", "explore", "bench", "synth"):
        assert run(*command.split(), "--help").returncode == 0
    assert "the following arguments are required: COMMAND" in refused()
