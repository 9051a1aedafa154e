"""Which packages a runtime needs, whether they are here, and in which version. Nothing is imported to find out."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Package:
    """Something to install.

    Attributes:
        module: what is imported.
        distribution: what is installed, as one would ask pip for it.
        also: other distributions that bring the same module.
    """

    module: str
    distribution: str
    also: tuple[str, ...] = ()


ONNX = Package("onnx", "onnx")
"""What reads and writes ONNX files."""


def absent(packages: Sequence[Package]) -> str | None:
    """Return how to install what is missing, in one line; None where nothing is."""
    needed = [package.distribution for package in packages if not _is_there(package.module)]
    return f"not installed (python -m pip install {' '.join(needed)})" if needed else None


def versions(packages: Sequence[Package]) -> str:
    """Return names and versions of the packages, such as `onnxruntime 1.32.0, onnx 1.23.2`."""
    return ", ".join(f"{package.distribution} {_version(package)}" for package in packages)


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # of a parent package, or of a module that a test took away
        return False


def _version(package: Package) -> str:
    for distribution in (package.distribution, *package.also):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(distribution)
    return "?"
