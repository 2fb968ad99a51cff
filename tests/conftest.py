"""What all tests share: where the tokenizer's ranks come from, small models, and no silent skips on demand."""

import importlib
import os

# On a busy machine threads that spin while they wait would wait for one another; OpenMP reads this when it is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import minioss
from minioss import kernels
from tests.ranks import store_ranks

settings.register_profile(
    "minioss", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("minioss")


def pytest_addoption(parser):
    parser.addoption("--no-skips", action="store_true", help="fail where a test was skipped")


def pytest_sessionfinish(session, exitstatus):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--no-skips") and reporter.stats.get("skipped"):
        session.exitstatus = 1
        print("\nSome tests were skipped, and --no-skips was given.")


@pytest.fixture(scope="session", autouse=True)
def tiktoken_ranks(tmp_path_factory):
    """tiktoken finds the ranks of o200k on disk, and never asks the network."""
    folder = tmp_path_factory.mktemp("ranks")
    store_ranks(folder)
    before = {name: os.environ.get(name) for name in ("TIKTOKEN_CACHE_DIR", "TIKTOKEN_RS_CACHE_DIR")}
    os.environ |= dict.fromkeys(before, str(folder))
    yield folder
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The tiny preset in the Hugging Face layout."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    minioss.synthesize(folder, minioss.preset("tiny"))
    return folder


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def core():
    return importlib.import_module("minioss._core")


@pytest.fixture(autouse=True)
def every_thread(request, monkeypatch):
    """A test of the kernels uses all threads that it asks for, however small the work."""
    if "core" in request.fixturenames:
        monkeypatch.setattr(importlib.import_module("minioss._core"), "SMALL_WORK", 0)


@pytest.fixture(autouse=True)
def best_level():
    """A test that switches the instruction set leaves the best one behind."""
    yield
    if not kernels.MISSING:
        kernels.instruction_set()
