"""Every example in a docstring or a page gives what it says."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import minioss

ROOT = Path(__file__).parent.parent
NAMES = (module.name for module in pkgutil.walk_packages(minioss.__path__, "minioss."))
MODULES = sorted(name for name in NAMES if name not in ("minioss.__main__", "minioss._core"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKED = [*PAGES, *sorted((ROOT / "tests").glob("*/README.md"))]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert doctest.testfile(str(page), module_relative=False, encoding="utf-8").failed == 0


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        path, _, anchor = target.partition("#")
        other = page if not path else page.parent / path
        assert other.exists(), target
        assert not anchor or anchor in anchors(other), target


def test_pages_that_code_speaks_of():
    for path in [*(ROOT / "minioss").rglob("*.py"), ROOT / "docs" / "walkthrough.py"]:
        for page in re.findall(r"docs/[\w-]+\.md", path.read_text(encoding="utf-8")):
            assert (ROOT / page).exists(), f"{path} speaks of {page}"


def prose(page):
    """A page without its blocks of code, where neither brackets nor hashes mean anything."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page):
    """The anchors of a page's headings (lower case, no punctuation, hyphens for spaces), and those it sets."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    named = re.findall(r'<a id="([^"]+)">', prose(page))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings} | set(named)
