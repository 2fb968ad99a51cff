"""Builds the extension; everything else is in pyproject.toml.

Without a C compiler the installation goes on without it, unless MINIOSS_REQUIRE_CORE=1.
OpenMP is used where the compiler has it: MINIOSS_OPENMP=0 builds a serial extension.
"""

import os
import sys
from glob import glob

from Cython.Build import cythonize
from setuptools import Extension, setup

if os.environ.get("MINIOSS_OPENMP") == "0" or sys.platform == "darwin":  # Apple's compiler ships no OpenMP
    openmp = []
else:
    openmp = ["/openmp" if sys.platform == "win32" else "-fopenmp"]

core = Extension(
    "minioss._core",
    sources=["_core/_core.pyx", *sorted(glob("_core/*.c"))],
    depends=["_core/simd.h"],
    include_dirs=["_core"],
    # No contraction: x * y + z is rounded twice on every processor, as in NumPy, but where a kernel asks for the other.
    extra_compile_args=[
        *openmp,
        *(["/O2"] if sys.platform == "win32" else ["-O3", "-ffp-contract=off", "-fopenmp-simd"]),
    ],
    extra_link_args=openmp if sys.platform != "win32" else [],
)
extensions = cythonize([core], build_dir="build")
for extension in extensions:  # cythonize makes them anew and forgets this
    extension.optional = os.environ.get("MINIOSS_REQUIRE_CORE") != "1"

setup(ext_modules=extensions)
