"""The optimiser's loop: the format that ships, shards, and checkpoints that survive a kill."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

import minioss
from minioss import bfloat16, mxfp4
from minioss.errors import InputError, NotFiniteError
from minioss.rmsnorm import rms_norm
from minioss.training import adamw, checkpoint, loop
from minioss.training.initial import initial
from minioss.training.parameters import assembled, named
from minioss.training.release import release
from minioss.training.shipped import shipped
from minioss.training.transformer import forward, loss_and_gradients
from tests.models import small_config
from tests.training import TASK, batch_of, of_rows, perturbed, random_batch


def trained(path, recipe=TASK, **options):
    """The file that a run leaves, and what it reported."""
    reports = []
    loop.train(
        recipe,
        batch_of,
        path,
        options.pop("steps_per_checkpoint", 10),
        lambda state, told: reports.append(told),
        **options,
    )
    return path.read_bytes(), reports


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    pytest.importorskip("threadpoolctl")
    return trained(tmp_path_factory.mktemp("training") / "run.safetensors")


def test_it_learns_to_count_in_the_format_that_ships(unbroken):
    _, reports = unbroken
    assert [report.step for report in reports] == list(range(1, TASK.steps + 1))
    assert reports[-1].losses.cross_entropy < 0.3 * reports[0].losses.cross_entropy


def test_the_same_seed_gives_the_same_bits(unbroken, tmp_path):
    assert trained(tmp_path / "again")[0] == unbroken[0]
    assert trained(tmp_path / "other", replace(TASK, seed=4))[0] != unbroken[0]


def test_a_run_that_was_killed_again_and_again_gives_the_same_bits(unbroken, tmp_path):
    """Killed after a random time, in the middle of whatever it does: every step writes a checkpoint."""
    path, random, kills = tmp_path / "run.safetensors", np.random.default_rng(0), 0
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    while True:
        command = [sys.executable, "-m", "tests.training", str(path), "1"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            process.stdout.readline()  # the first of its steps is done
            try:
                process.wait(random.random() * 0.25 if kills < 6 else None)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        kills += 1
        checkpoint.read(path, TASK)  # whole, whenever it was killed
    assert kills >= 3
    assert path.read_bytes() == unbroken[0]


def test_a_write_that_is_cut_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    state = checkpoint.new(TASK)
    checkpoint.write(path, state, TASK)
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        checkpoint.write(path, state._replace(step=1), TASK)
    assert path.read_bytes() == before
    monkeypatch.undo()
    checkpoint.write(path, state._replace(step=1), TASK)
    assert checkpoint.read(path, TASK).step == 1
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    checkpoint.write(path, checkpoint.new(TASK), TASK)
    with pytest.raises(InputError, match="peak_rate is 0.01; expected 0.02"):
        checkpoint.read(path, replace(TASK, peak_rate=0.02))
    with pytest.raises(InputError, match="num_hidden_layers is 2; expected 3"):
        checkpoint.read(path, replace(TASK, config=small_config(num_hidden_layers=3)))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="no checkpoint"):
        checkpoint.read(path, TASK)


def test_what_ships_is_what_the_model_ran_on(tmp_path):
    """The rounded weights are numbers of the format: packing them changes nothing."""
    masters = {name: array.astype(np.float32) for name, array in perturbed(TASK.config, 0).items()}
    for (part, _), master in masters.items():
        numbers = shipped(part, master)
        if part in ("gate_up", "down"):
            assert np.array_equal(mxfp4.quantize(master).decode(), numbers)
        else:
            assert np.array_equal(bfloat16.decode(bfloat16.encode(master)), numbers)


def test_gradients_pass_straight_through_to_the_masters():
    """One step moves the masters by the gradient at the rounded weights."""
    recipe = replace(TASK, shards=1, balance=0.0, largest_norm=1e9, adamw=adamw.AdamW(decay=0.0))
    state = checkpoint.new(recipe)
    rounded = {name: shipped(name[0], array) for name, array in state.masters.items()}
    _, gradients = loss_and_gradients(assembled(rounded), batch_of(1), TASK.config)
    before = {name: array.copy() for name, array in state.masters.items()}
    with ThreadPoolExecutor(1) as pool:
        state, report = loop.step(state, batch_of(1), recipe, pool)
    for name, gradient in named(gradients).items():
        moved = np.where(np.abs(gradient) > 1e-5, -report.rate * np.sign(gradient), state.masters[name] - before[name])
        assert np.allclose(state.masters[name] - before[name], moved, rtol=2e-3, atol=1e-7), name


def test_only_matrices_of_products_decay():
    masters = named(initial(small_config(), 0))
    decayed = {part for part, _ in masters if part in adamw.DECAYED}
    assert decayed == {part for part, _ in masters if part.endswith(".weight")} | {"gate_up", "down", "unembedding"}


def test_shards_add_up_to_the_batch():
    config = small_config()
    weights, batch = initial(config, 0, np.float64), random_batch(config, 5, 30, seed=0)
    whole, expected = loss_and_gradients(weights, batch, config)
    for shards in (1, 2, 5):
        recipe = replace(TASK, config=config, shards=shards, balance=0.0)
        with ThreadPoolExecutor(2) as pool:
            losses, gradients = loop.shared_out(weights, batch, recipe, pool)
        assert losses.cross_entropy == pytest.approx(whole.cross_entropy, rel=1e-13)
        for name, gradient in named(expected).items():
            assert np.allclose(gradients[name], gradient, rtol=1e-10, atol=1e-13), name
    with ThreadPoolExecutor(2) as pool, pytest.raises(InputError, match="5 sequences; expected at least shards = 6"):
        loop.shared_out(weights, batch, replace(recipe, shards=6), pool)


def test_gradients_that_are_not_finite_stop_the_run():
    state = checkpoint.new(TASK)
    state.masters["norm", None][0] = np.inf
    with (
        ThreadPoolExecutor(2) as pool,
        pytest.warns(RuntimeWarning),
        pytest.raises(NotFiniteError, match="step 1: .* nan"),
    ):
        loop.step(state, batch_of(1), TASK, pool)


def test_without_threadpoolctl_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    with pytest.raises(InputError, match=r"minioss\[train\]"):
        loop.train(TASK, batch_of, tmp_path / "run", 10)


def test_the_trained_weights_make_a_model(unbroken, tmp_path):
    path = tmp_path / "run"
    path.write_bytes(unbroken[0])
    masters = checkpoint.read(path, TASK).masters
    weights = assembled({name: shipped(name[0], array) for name, array in masters.items()})
    model = minioss.Model(TASK.config, weights)
    assert model(np.arange(5, 15)).argmax(axis=-1).tolist()[2:] == [8, 9, 10, 11, 12, 13, 14, 15]


def test_what_is_released_is_what_was_trained(tiny, tmp_path):
    """The folder's logits are those of the training's forward pass on the weights that it rounds to."""
    config = small_config(vocab_size=272)
    masters = {name: array.astype(np.float32) for name, array in perturbed(config, 0).items()}
    release(tmp_path / "out", masters, config, tiny / "tokenizer.json")
    model = minioss.load(tmp_path / "out", dtype="float64")
    assert model.config == config and minioss.load_tokenizer(tmp_path / "out").n_vocab == 272
    ids = np.arange(40) * 7 % 272
    weights = assembled({name: shipped(name[0], array).astype(np.float64) for name, array in masters.items()})
    x_TD, *_ = forward(weights, of_rows(ids[None], ids[None], np.ones((1, 40))), config)
    expected = rms_norm(x_TD, weights.norm, config.rms_norm_eps) @ weights.unembedding.T
    np.testing.assert_allclose(model(ids), expected, rtol=0, atol=1e-12 * np.abs(expected).max())
