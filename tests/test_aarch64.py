"""The C kernels against recorded vectors: natively, and as recorded for aarch64 under emulation."""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.aarch64 import record

ROOT = Path(__file__).parent.parent
HERE = ROOT / "tests" / "aarch64"
COMPILER = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
CASE = re.compile(r"^(\w+): (.+): (\d+\.\d+)$", re.MULTILINE)


def cases(output: str) -> dict[str, list[str]]:
    """The cases that each level passed."""
    levels: dict[str, list[str]] = {}
    for level, case, error in CASE.findall(output):
        assert float(error) <= 1
        levels.setdefault(level, []).append(case)
    return levels


@pytest.fixture(scope="module")
def native(tmp_path_factory) -> str:
    """What the driver says on this machine."""
    if COMPILER is None:
        pytest.skip("there is no C compiler")
    driver = tmp_path_factory.mktemp("aarch64") / "driver"
    sources = [*sorted((ROOT / "_core").glob("*.c")), HERE / "driver.c"]
    flags = ["-O2", "-fopenmp-simd", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / '_core'}"]
    subprocess.run([COMPILER, *flags, *map(str, sources), "-lm", "-o", driver], check=True)
    return subprocess.run([driver, record.VECTORS], check=True, capture_output=True, text=True).stdout


def test_every_level_of_this_processor_is_within_the_bounds(native):
    assert native.endswith("\n0 cases exceed what is allowed\n")
    levels = cases(native)
    assert all(passed == levels["scalar"] for passed in levels.values())


def test_the_vectors_are_what_the_twins_make():
    assert record.vectors() == record.VECTORS.read_bytes()


def test_the_recorded_run_is_of_this_code_and_all_of_it_passed(native):
    recorded = (HERE / "recorded-run.txt").read_text()
    for path in (ROOT / "_core" / "neon.c", record.VECTORS):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert digest in recorded, f"{path.name} has changed since: run tests/aarch64/run.sh and record what it says"
    assert recorded.endswith("\nall of it passed\n")
    emulated = [part for part in recorded.split("\n== ")[1:] if "under qemu-aarch64" in part.splitlines()[0]]
    assert {run.split()[0] for run in emulated} == {"aarch64-linux-gnu-gcc", "clang"}
    for run in emulated:
        assert "\n0 cases exceed what is allowed\n" in run
        assert cases(run) == dict.fromkeys(("scalar", "neon"), cases(native)["scalar"])
