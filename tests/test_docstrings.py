"""Every public name says what it is; what most people call says it in full."""

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap

import pytest

import minioss
from minioss import exercises, plots

NAMES = (module.name for module in pkgutil.walk_packages(minioss.__path__, "minioss."))
MODULES = [importlib.import_module(name) for name in sorted(NAMES) if not name.endswith(("__main__", "_core"))]
BLOCKS = [
    importlib.import_module(f"minioss.{name}")
    for name in ("rmsnorm", "rope", "attention", "router", "experts", "cache", "transformer", "model")
]
ARRAYS = ("NDArray", "ArrayLike")
UNNAMED = ("self", "args", "kwargs")
SHAPE = re.compile(r"\((?:…|\.\.\.|[A-Zn1-9][A-Z0-9 /+]*),[^)]*\)|any shape|[Ss]hapes? as in")


def of(module):
    """The public functions and classes that a module defines, and the public methods of these classes."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(value) or inspect.isclass(value):
            yield name, value
        if inspect.isclass(value):
            for key, member in vars(value).items():
                method = inspect.unwrap(getattr(member, "fget", None) or getattr(member, "func", member))
                if not key.startswith("_") and inspect.isfunction(method):
                    yield f"{name}.{key}", method


EXPORTED = {
    f"{room.__name__}.{name}": getattr(room, name)
    for room in (minioss, plots)
    for name in room.__all__
    if callable(getattr(room, name))
} | {"minioss.exercises.check": exercises.check}
# These are given out and not made by those who use them.
GIVEN = ("minioss.InputError", "minioss.NotFiniteError", "minioss.Token")
OF_BLOCKS = {f"{module.__name__}.{name}": value for module in BLOCKS for name, value in of(module)}


def text(value):
    return inspect.getdoc(value) or ""


def section(doc, title):
    """The lines of one section of a numpydoc docstring."""
    found = re.search(rf"^{title}\n-+\n(.*?)(?=\n\n\S[^\n]*\n---|\Z)", doc, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def documented(doc):
    """What each parameter is said to be, by its name."""
    entries = re.split(r"^(?=\S)", section(doc, "Parameters") + "\n" + section(doc, "Attributes"), flags=re.MULTILINE)
    heads = (entry.partition(" : ") for entry in entries)
    return {name.strip().lstrip("*"): said for names, _, said in heads for name in names.split(",")}


def parameters(value):
    """The annotation of each parameter, as it is written."""
    given = inspect.signature(value).parameters.values()
    return {each.name: inspect.formatannotation(each.annotation) for each in given if each.name not in UNNAMED}


def raised(value):
    """The exceptions of ours that a function raises itself, or a class where it is made."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(value))))
    makers = [node for node in ast.walk(tree) if getattr(node, "name", "") in ("__init__", "__post_init__")]
    nodes = makers if inspect.isclass(value) else [tree]
    calls = (node.exc for tree in nodes for node in ast.walk(tree) if isinstance(node, ast.Raise))
    return {call.func.id for call in calls if isinstance(call, ast.Call)} & {"InputError", "NotFiniteError"}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_there_are_docstrings(module):
    docs = {name: text(value) for name, value in [("", module), *of(module)]}
    # A dataclass or a named tuple without one gets its signature instead.
    missing = [name for name, doc in docs.items() if not doc or doc.startswith(f"{name}(")]
    assert not missing, f"{module.__name__} says nothing of {missing}"


@pytest.mark.parametrize("name", [name for name in EXPORTED if name not in GIVEN])
def test_exported_names_describe_every_parameter(name):
    given, said = parameters(EXPORTED[name]), documented(text(EXPORTED[name]))
    assert set(given) <= set(said), f"{name} says nothing of {set(given) - set(said)}"
    for parameter, annotation in given.items():
        if annotation.removeprefix("numpy.typing.").startswith(ARRAYS):
            assert SHAPE.search(said[parameter]), f"{name} does not say what shape {parameter} has"


@pytest.mark.parametrize("name", OF_BLOCKS)
def test_the_blocks_leave_no_parameter_unexplained(name):
    """Each stands in the docstring or in another one, or says its shape in its name, or its class explains itself."""
    doc = text(OF_BLOCKS[name])
    for parameter, annotation in parameters(OF_BLOCKS[name]).items():
        said = re.search(rf"\b{parameter}\b|[Aa]rguments .*as in `", doc)
        assert said or re.search(r"_[A-Zkn0-9]+$", parameter) or "minioss." in annotation, f"{name}: {parameter}"


@pytest.mark.parametrize("name", {**EXPORTED, **OF_BLOCKS})
def test_what_gives_an_array_says_its_shape(name):
    value = {**EXPORTED, **OF_BLOCKS}[name]
    gives = str(inspect.signature(value).return_annotation) if inspect.isfunction(value) else ""
    assert not gives.startswith("numpy.ndarray") or SHAPE.search(text(value)), name


@pytest.mark.parametrize("name", {**EXPORTED, **OF_BLOCKS})
def test_errors_are_announced(name):
    value = {**EXPORTED, **OF_BLOCKS}[name]
    missing = {error for error in raised(value) if error not in text(value)}
    assert not missing, f"{name} raises {missing}"


@pytest.mark.parametrize("module", BLOCKS, ids=lambda module: module.__name__)
def test_the_blocks_name_their_sources(module):
    assert re.search(r"^Source: .*(gpt_oss/|\(20\d\d\))", module.__doc__, re.MULTILINE | re.DOTALL)
