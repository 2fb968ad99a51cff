"""Every example in a docstring or a page gives what it says."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import minioss

MODULES = sorted(module.name for module in pkgutil.walk_packages(minioss.__path__, "minioss.") if "__main__" not in module.name and module.name != "minioss._core")
PAGES = sorted((Path(__file__).parent.parent / "docs").glob("*.md"))


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages(page):
    assert doctest.testfile(str(page), module_relative=False, encoding="utf-8").failed == 0
