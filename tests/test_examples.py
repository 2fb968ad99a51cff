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


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert doctest.testfile(str(page), module_relative=False, encoding="utf-8").failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        other = page if not path else page.parent / path
        assert other.exists(), target
        assert not anchor or anchor in anchors(other), target


def anchors(page):
    """The anchors that a page's headings get: lower case, no punctuation, hyphens for spaces."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
