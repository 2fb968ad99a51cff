"""The seam between NumPy and Cython: the mark, the bindings, the choice.

A function that has a kernel is written in NumPy where it belongs and marked `@twin`.
Calling it runs whatever is bound to its name in the current context: nothing (then the
NumPy body itself) or its Cython twin. The model binds for the length of a call; the
blocks never ask which one runs.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from numpy.typing import DTypeLike

from minioss.errors import InputError

try:
    import minioss._core as _core
except ImportError as error:
    CYTHON: Mapping[str, Callable] = {}
    MISSING: str | None = str(error)
else:
    CYTHON = {"mxfp4.decode": _core.mxfp4_decode}
    MISSING = None

_bound: ContextVar[Mapping[str, Callable]] = ContextVar("bound", default=MappingProxyType({}))

Function = TypeVar("Function", bound=Callable)


def twin(function: Function) -> Function:
    """Mark a NumPy function that another one may stand in for, under the name ``module.function``."""
    name = f"{function.__module__.removeprefix('minioss.')}.{function.__qualname__}"

    @functools.wraps(function)
    def bound(*args, **kwargs):
        return _bound.get().get(name, function)(*args, **kwargs)

    return bound


@contextmanager
def using(bindings: Mapping[str, Callable]) -> Iterator[None]:
    """Bind marked functions, by name, for the length of a ``with``."""
    token = _bound.set(bindings)
    try:
        yield
    finally:
        _bound.reset(token)


def choose(kernels: str | None, dtype: DTypeLike) -> Mapping[str, Callable]:
    """The bindings for ``"numpy"``, ``"cython"``, or ``None``: Cython where it is built and can serve.

    Raises
    ------
    InputError
        Where Cython is asked for and the extension is absent, or ``dtype`` is float64,
        which always runs in NumPy.
    """
    if kernels not in (None, "numpy", "cython"):
        raise InputError(f"kernels is {kernels!r}; expected 'numpy', 'cython' or None")
    is_float64 = np.dtype(dtype) == np.float64
    if kernels == "cython" and MISSING:
        raise InputError(
            f"kernels is 'cython', but the extension minioss._core is not there ({MISSING}); "
            "install minioss where there is a C compiler, or use kernels='numpy'"
        )
    if kernels == "cython" and is_float64:
        raise InputError("kernels is 'cython' and dtype is float64; float64 runs in NumPy alone")
    return {} if kernels == "numpy" or is_float64 else CYTHON
