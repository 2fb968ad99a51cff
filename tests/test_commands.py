"""Every command of a page runs, on a small model where the page has the real one, and prints what stands below it."""

import io
import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

import minioss
from minioss import cli
from minioss.chat.tools import sandbox
from minioss.plots.training import COLUMNS
from tests.terminal import CTRL_D, Terminal

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"^(?:    |\$ )((?:\S+/)?(?:minioss|echo|python3?|pip) .*)$", re.MULTILINE)
SHOWN = re.compile(r"^\$ (.*)\n((?:(?!```|\$ ).*\n)+)", re.MULTILINE)
# What is not run here, and why not.
ELSEWHERE = {
    r"pip install": "installs, which is how these tests came to run",
    r"python -m pytest": "runs these tests",
    r"python -m tests\.benchmarks\.": "measures for minutes or hours",
    r"python -m minioss\.training\.corpus\.tokenizer ": "tests/test_corpus.py makes it",
    r"minioss train ": "trains for hours; tests/test_training_loop.py trains for moments",
    r"minioss synth .* --preset 20b": "writes 13.8 GB",
    r"minioss kit ": "tests/test_kit.py runs it",
    r"minioss verify .* --against transformers": "tests/parity/test_against.py runs it",
}

TEXTS = [page.read_text(encoding="utf-8") for page in PAGES]
FOUND = dict.fromkeys(line for text in TEXTS for line in COMMAND.findall(text))
OUTPUT = dict(pair for text in TEXTS for pair in SHOWN.findall(text))
RUN = [line for line in FOUND if not any(re.search(each, line) for each in ELSEWHERE)]
CHATS = [line for line in RUN if line.startswith("minioss chat")]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A model with a long context and the tokens of the official pattern, verified in moments."""
    folder = tmp_path_factory.mktemp("models") / "small"
    minioss.synthesize(folder, minioss.preset("tiny"))
    return folder


@pytest.fixture
def files(tmp_path, monkeypatch, small):
    """The files that the pages speak of, in the working folder."""
    monkeypatch.chdir(tmp_path)
    ids = np.random.default_rng(0).integers(272, size=24)
    np.savez("theirs.npz", tokens=ids, logits=minioss.load(small, kernels="numpy")(ids))
    Path("ids.json").write_text(json.dumps(ids.tolist()))
    Path("tiny.losses.csv").write_text(f"{','.join(COLUMNS)}\n1,99,8.0,1.0,0.5,1e-3\n2,198,4.0,1.0,0.5,1e-3\n")
    Path("DOCUMENTS").mkdir()
    Path("DOCUMENTS/whales.md").write_text("# Whales\n\nThey live in the sea.\n")


def arguments(line, small):
    """The words behind ``minioss``, with a model of ours, and what is piped into it."""
    words = shlex.shlex(line, posix=True, punctuation_chars="|>")
    words.whitespace_split, words.commenters = True, "#"
    words = [word.removeprefix(".venv/bin/") for word in words]
    before, words = words[: words.index("minioss")], words[words.index("minioss") + 1 :]
    ours = small if words[0] in ("gguf", "bench", "verify", "diagnose") else minioss.TINY
    words = words[: words.index(">")] if ">" in words else words
    return [str(ours) if word in ("gpt-oss-20b", "FOLDER") else word for word in words], before[1:-1]


@pytest.mark.parametrize("line", [line for line in RUN if line not in CHATS])
def test_a_command(line, files, small, monkeypatch, capsys):
    words, piped = arguments(line, small)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(" ".join(piped).encode())))
    assert cli.main(words) == 0
    out, err = capsys.readouterr()
    assert OUTPUT.get(line, err + out) == err + out


@pytest.mark.parametrize("line", CHATS)
def test_a_chat_opens_and_can_be_left(line, files, small):
    words, _ = arguments(line, small)
    if any("python" in word for word in words) and sandbox.problem():
        pytest.skip(f"no sandbox: {sandbox.problem()}")
    with Terminal([sys.executable, "-m", "minioss", *words]) as chat:
        chat.expect("(/help lists the commands)\n")
        chat.expect("\n> ")
        chat.type(CTRL_D)
        assert chat.exit_status() == 0


def test_what_is_left_out_is_still_there():
    for pattern in ELSEWHERE:
        assert any(re.search(pattern, line) for line in FOUND), pattern
