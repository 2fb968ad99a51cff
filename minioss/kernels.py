"""The seam between NumPy and Cython: the mark, the bindings, the choice.

A *kernel* is a compiled function that computes what one of ours in NumPy does; the two are twins. The one in NumPy is
written where it belongs and marked `@twin`. Calling it runs what is *bound* to its name in the current context: nothing
(then the NumPy body itself) or its kernel. The model binds for the length of a call; no block asks which one runs.

The same mark lets a function be watched, or replaced by a wrong one: `wrapping` puts another function around it, which
gets the one it stands for. Then all runs in NumPy.
"""

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minioss.errors import InputError

try:
    import minioss._core as _core
except ImportError as error:
    CYTHON: dict[str, Callable] = {}
    MISSING: str | None = str(error)
else:
    CYTHON = {
        "linear.matmul": _core.matmul,
        "linear.linear": _core.linear,
        "linear.exact_linear": _core.linear,
        "mxint8.quantize_rows": _core.quantize_rows,
        "rmsnorm.rms_norm": _core.rms_norm,
        "rope.rotate": _core.rotate,
        "attention.project": _core.project,
        "attention.attend": _core.attend,
        "experts.mix_experts": _core.mix_experts,
    }
    MISSING = None

Bindings = Mapping[str, Callable]  # what runs in place of marked functions, by their names

NUMPY: dict[str, Callable] = {}  # every marked function, by its name, as it is written

# Kernels that were chosen, and functions put around marked ones, the outermost last.
_chosen: ContextVar[Bindings] = ContextVar("chosen", default=MappingProxyType({}))
_wrappers: ContextVar[tuple[Bindings, ...]] = ContextVar("wrappers", default=())
# Both together, so that a call looks in one place.
_bound: ContextVar[Bindings] = ContextVar("bound", default=MappingProxyType({}))

Function = TypeVar("Function", bound=Callable)


def twin(function: Function) -> Function:
    """Mark a NumPy function that another one may stand in for, under the name ``module.function``.

    A stand-in that returns NotImplemented leaves the call to the NumPy function.
    """
    name = f"{function.__module__.removeprefix('minioss.')}.{function.__qualname__}"
    NUMPY[name] = function

    @functools.wraps(function)
    def bound(*args, **kwargs):
        stand_in = _bound.get().get(name)
        if stand_in is None:
            return function(*args, **kwargs)
        result = stand_in(*args, **kwargs)
        return function(*args, **kwargs) if result is NotImplemented else result

    return bound


@contextmanager
def using(bindings: Bindings) -> Iterator[None]:
    """Bind marked functions, by name, for the length of a ``with``."""
    with _setting(_chosen, bindings):
        yield


@contextmanager
def wrapping(wrappers: Bindings) -> Iterator[None]:
    """Put other functions around marked ones, by name, for the length of a ``with``. Meanwhile all runs in NumPy.

    A wrapper is called with the function that it stands for, then the arguments. Of several
    around one function the last is the outermost.

    Examples
    --------
    >>> from minioss import linear
    >>> with wrapping({"linear.matmul": lambda right, x, weight: 10 * right(x, weight)}):
    ...     linear.matmul(np.ones((1, 2)), np.ones((3, 2)))
    array([[20., 20., 20.]])
    """
    with _setting(_wrappers, (*_wrappers.get(), wrappers)):
        yield


@contextmanager
def _setting(variable: ContextVar, value: object) -> Iterator[None]:
    token = variable.set(value)
    outer = _bound.set(_wrapped(_chosen.get(), _wrappers.get()))
    try:
        yield
    finally:
        _bound.reset(outer)
        variable.reset(token)


def _wrapped(bindings: Bindings, layers: tuple[Bindings, ...]) -> Bindings:
    bound = dict(bindings)
    for name, wrapper in (item for wrappers in layers for item in wrappers.items()):
        bound[name] = functools.partial(wrapper, bound.get(name, NUMPY[name]))
    return bound


def choose(kernels: str | None, dtype: DTypeLike, threads: int | None = None) -> Bindings:
    """The bindings for ``"numpy"``, ``"cython"``, or ``None``: Cython where it is built and can serve.

    Parameters
    ----------
    kernels : which
    dtype : float32 or float64, the type of the activations
    threads : how many the kernels use; None for `default_threads`

    Raises
    ------
    InputError
        Where Cython is asked for and the extension is absent, or ``dtype`` is float64 or a
        function is wrapped, which always run in NumPy; where ``MINIOSS_SIMD`` or a number of threads is wrong.
    """
    if kernels not in (None, "numpy", "cython"):
        raise InputError(f"kernels is {kernels!r}; expected 'numpy', 'cython' or None")
    threads = default_threads() if threads is None else checked_threads("threads", threads)
    is_float64 = np.dtype(dtype) == np.float64
    if kernels == "cython" and MISSING:
        raise InputError(
            f"kernels is 'cython', but the extension minioss._core is not there ({MISSING}); "
            "install minioss where there is a C compiler, or use kernels='numpy'"
        )
    if kernels == "cython" and is_float64:
        raise InputError("kernels is 'cython' and dtype is float64; float64 runs in NumPy alone")
    if kernels == "cython" and _wrappers.get():
        raise InputError("kernels is 'cython'; a trace or a fault runs in NumPy alone: expected 'numpy' or None")
    if kernels == "numpy" or is_float64 or MISSING or _wrappers.get():
        return {}
    instruction_set()
    return {name: functools.partial(kernel, threads=threads) for name, kernel in CYTHON.items()}


def default_threads() -> int:
    """``MINIOSS_THREADS``, or one for each processor that this process may use."""
    given = os.environ.get("MINIOSS_THREADS")
    if given:
        return checked_threads("MINIOSS_THREADS", int(given) if given.isdecimal() else given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def checked_threads(name: str, threads: object) -> int:
    """A number of threads, or an `InputError`."""
    if not isinstance(threads, int) or not 1 <= threads <= 1024:
        raise InputError(f"{name} is {threads!r}; expected 1 to 1024")
    return threads


def instruction_set() -> str | None:
    """The instruction set of the kernels: ``MINIOSS_SIMD``, or the best that this processor has; None without kernels.

    Raises
    ------
    InputError
        Where this processor lacks what ``MINIOSS_SIMD`` says.
    """
    if MISSING:
        return None
    wanted = os.environ.get("MINIOSS_SIMD", _core.available()[-1])
    if wanted not in _core.available():
        raise InputError(f"MINIOSS_SIMD is {wanted!r}; this processor has {', '.join(_core.available())}")
    _core.use(wanted)
    return wanted


def products() -> dict[str, str]:
    """What multiplies more than a few tokens at once, by the type of the activations. Empty without kernels."""
    return _core.products() if instruction_set() else {}


def peak(activations: str, threads: int) -> float | None:
    """Operations a second of what multiplies many tokens (`products`), in registers alone. None without kernels."""
    return _core.peak(threads=threads, activations=activations) if instruction_set() else None


def read_seconds(buffer: NDArray[np.uint8], threads: int) -> float | None:
    """The seconds that all threads together take to read a contiguous buffer once. None without kernels."""
    return None if MISSING else _core.read_seconds(buffer, threads=threads)
