"""transformers, run on a folder, is judged right; in bfloat16 it is known for what it is."""

import json

import numpy as np
import pytest

import minioss
from minioss import cli
from minioss.config import FULL
from minioss.verify.against import drawn, transformers_trace
from tests.models import small_config, synthesize

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
transformers_float64 = pytest.importorskip("tests.parity.transformers_float64")


@pytest.mark.parametrize("dense", [False, True])
def test_the_command(tmp_path, capsys, dense):
    folder = synthesize(tmp_path, small_config(), dense=dense)
    assert cli.main(["verify", str(folder), "--against", "transformers", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["precision"], found["tokens"]) == ("right", "float32", 300)


def test_tokens_of_ones_own(tmp_path, capsys):
    folder = synthesize(tmp_path, small_config())
    (tmp_path / "ids.json").write_text("[1, 2, 3, 4, 5, 6, 7, 8]")
    given = ["verify", str(folder), "--against", "transformers", "--tokens", str(tmp_path / "ids.json")]
    assert cli.main(given) == 2
    assert "cannot see window-missing" in capsys.readouterr().out


def test_the_original_layout_is_refused(tmp_path):
    folder = synthesize(tmp_path, small_config(), layout="original")
    with pytest.raises(minioss.InputError, match="original layout; transformers reads the Hugging Face one"):
        transformers_trace(folder, np.arange(3))


@pytest.mark.parametrize("experts", ["eager", "batched_mm", "grouped_mm"])
@pytest.mark.parametrize("seed", [0, 1])
def test_in_bfloat16(tmp_path, experts, seed):
    config = small_config(layer_types=(FULL, "sliding_attention", FULL), sliding_window=32)
    folder = synthesize(tmp_path, config, seed=seed, dense=True)
    theirs = transformers_float64.load_as_saved(folder)
    theirs.set_experts_implementation(experts)
    ids = drawn(config)
    with torch.no_grad():
        logits = theirs(torch.from_numpy(ids)[None]).logits[0].float().numpy()
    found = minioss.compare(minioss.load(folder), {"tokens": ids, "logits": logits})
    assert (found.verdict.verdict, found.precision) == ("right", "bfloat16"), found
