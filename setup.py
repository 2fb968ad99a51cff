"""Builds the extension; everything else is in pyproject.toml.

Without a C compiler the installation goes on without it, unless MINIOSS_REQUIRE_CORE=1.
"""

import os

from Cython.Build import cythonize
from setuptools import Extension, setup

core = Extension(
    "minioss._core",
    sources=["_core/_core.pyx", "_core/mxfp4.c"],
    depends=["_core/mxfp4.h"],
    include_dirs=["_core"],
)
extensions = cythonize([core], build_dir="build")
for extension in extensions:  # cythonize makes them anew and forgets this
    extension.optional = os.environ.get("MINIOSS_REQUIRE_CORE") != "1"

setup(ext_modules=extensions)
