"""transformers opens every checkpoint of the conformance kit and gives its golden logits."""

import json

import numpy as np
import pytest

import minioss
from minioss.checkpoint.loading import open_checkpoint
from minioss.verify.against import transformers_trace
from minioss.verify.files import read_trace
from minioss.verify.kit import write_kit
from minioss.verify.kit_checkpoints import CHECKPOINTS

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("gguf")
transformers_float64 = pytest.importorskip("tests.parity.transformers_float64")


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    out = tmp_path_factory.mktemp("kits") / "kit"
    write_kit(out)
    return out


FORMS = [(name, form) for name, each in CHECKPOINTS.items() for form in each.forms if form in ("huggingface", "dense")]


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_the_golden_logits_are_what_transformers_gives(kit, name, form):
    entry = {entry["name"]: entry for entry in json.loads((kit / "kit.json").read_text())["checkpoints"]}[name]
    folder = kit / entry["forms"][form]
    golden = read_trace(kit / entry["golden"], open_checkpoint(folder).config)
    reference = transformers_float64.logits(folder, golden["tokens"])
    assert np.abs(golden["logits"] - reference).max() < 1e-11


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_its_logits_in_float32_are_right(kit, name):
    folder = kit / name / "model"
    ids = np.array(json.loads((kit / name / "tokens.json").read_text()))
    found = minioss.compare(minioss.load(folder, dtype="float64"), transformers_trace(folder, ids))
    assert (found.verdict.verdict, found.precision) == ("right", "float32"), found.verdict.reasons
