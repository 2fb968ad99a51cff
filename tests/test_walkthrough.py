"""The walkthrough: notebook and text are one, every section has its parts, and all of it runs in an empty folder.

The text is what is edited. Then:

    jupytext --to ipynb docs/walkthrough.py -o walkthrough.ipynb && jupyter execute --inplace walkthrough.ipynb
"""

import re
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

import minioss
from minioss.exercises import EXERCISES

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "walkthrough.ipynb"
TEXT = jupytext.read(ROOT / "docs" / "walkthrough.py")
CODE = [cell for cell in TEXT.cells if cell.cell_type == "code"]


def sections():
    """The cells under each heading of the second level."""
    found = {}
    for cell in TEXT.cells:
        for title in re.findall(r"^## (.*)", cell.source, re.MULTILINE):
            found[title] = []
        if found:
            found[title].append(cell)
    return found


SECTIONS = {title: cells for title, cells in sections().items() if ":" in title}
each_section = pytest.mark.parametrize("cells", SECTIONS.values(), ids=SECTIONS)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The notebook's cells with their outputs, made in an empty folder."""
    folder = tmp_path_factory.mktemp("empty")
    notebook = jupytext.read(ROOT / "docs" / "walkthrough.py")
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    assert not list(folder.iterdir())
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell):
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def test_notebook_and_text_are_one():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [
        (cell.cell_type, cell.source) for cell in TEXT.cells
    ]


def test_the_notebook_reads_well_unrun():
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert NOTEBOOK.stat().st_size < 3_000_000


def test_sections_are_called_as_modules():
    package = Path(minioss.__file__).parent
    modules = {path.stem for path in package.rglob("*.py")} | {path.parent.name for path in package.rglob("*.py")}
    assert {title.split(":")[0] for title in SECTIONS} <= modules and len(SECTIONS) >= 14


@each_section
def test_a_section_has_its_parts(cells):
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    assert any("plots." in source for source in code[:2]), "a picture first"
    assert any("assert " in source for source in code)
    assert any("**Break it.**" in cell.source or "exercises.mystery()" in cell.source for cell in cells)
    assert sum("exercises.check(" in source for source in code) == 1 and "exercises.check(" in code[-1] + code[-2]


def test_every_exercise_is_there():
    found = [name for cell in CODE for name in re.findall(r"exercises\.check\(\"(\w+)\"", cell.source)]
    assert sorted(found) == sorted(EXERCISES)


def test_cells_are_short():
    assert max(len(cell.source.splitlines()) for cell in CODE) <= 20


def test_every_cell_runs(run):
    assert len(run) == len(CODE) and all(cell.execution_count for cell in run)


def test_the_answers_to_begin_with_are_wrong(run):
    """Otherwise there would be nothing to do."""
    answers = [printed(cell) for cell in run if "\nexercises.check(" in cell.source]
    assert len(answers) == len(EXERCISES) - 1 and all(answer.startswith("Not yet.") for answer in answers)


def test_pictures_are_drawn(run):
    pictures = [cell for cell in run if any("image/png" in output.get("data", {}) for output in cell.outputs)]
    assert len(pictures) >= 14


def test_mistakes_show_as_the_text_says(run):
    """The error that ``break_it`` prints is a number; the text names the mistakes that hardly change it."""
    lines = "\n".join(printed(cell) for cell in run if "break_it(" in cell.source)
    errors = {name: float(error) for name, error in re.findall(r"^([a-z0-9-]+) +(\S+e\S+) +\d+%  '", lines, re.M)}
    assert len(errors) > 20
    assert {name for name, error in errors.items() if error == 0} == {"mxfp4-subnormals-flushed"}
    assert {name for name, error in errors.items() if 0 < error < 1e-4} == {"norm-eps-1e-6", "gate-clamped-below"}
