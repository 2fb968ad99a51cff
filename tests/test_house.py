"""The architecture: who may import whom, and how long the model's own text is."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "minioss"

# A module imports only from rooms above its own.
ROOMS = [
    ["errors", "_core"],
    ["config", "kernels", "machine"],
    ["bfloat16", "mxfp4"],
    ["mxint8"],
    ["linear"],
    ["precision"],
    ["rmsnorm", "rope"],
    ["cache"],
    ["attention", "router", "prompts"],
    ["experts"],
    ["finite"],
    ["transformer"],
    ["model", "parts"],
    ["checkpoint"],
    ["text", "bench", "lens"],
    ["chat"],
    ["training", "verify"],
    ["plots", "explore"],
    ["cli", "exercises"],
    ["__init__", "__main__"],
]
FLOOR = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "minioss":
            yield from (alias.name for alias in node.names if alias.name in FLOOR)
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("minioss."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("minioss."))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_upward(path):
    here = room(path)
    for other in imported(path):
        assert other == here or FLOOR[other] < FLOOR[here], f"{here} imports {other}"


def test_the_kernels_are_imported_in_one_place():
    assert [room(path) for path in PACKAGE.rglob("*.py") if "_core" in set(imported(path))] == ["kernels"]


def test_the_model_is_a_short_text():
    blocks = ("rmsnorm", "rope", "attention", "router", "experts", "cache", "transformer", "model")
    assert sum(len((PACKAGE / f"{name}.py").read_text().splitlines()) for name in blocks) < 900
