"""What was measured on: everything that must agree before two results may be compared.

py-cpuinfo and threadpoolctl know most of it; without them (NumPy alone) the standard library says what it can and the rest is None.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlbench._version import __version__
from mlbench.measure.system.cgroups import container

_STEERING = re.compile(r"(OPENBLAS|MKL|BLIS|VECLIB|MALLOC|NPY|NUMPY)_|OMP_(PROC_BIND|PLACES)$|GLIBC_TUNABLES$|LD_PRELOAD$|MLBENCH_CODEGEN$")


@dataclass(frozen=True, slots=True)
class Environment:
    """A machine and its software.

    Attributes:
        cpu: model name.
        cores: logical cores this process may use.
        system: operating system and release.
        python: version.
        numpy: version.
        blas: library, its version and the kernels it chose.
        threads: BLAS threads.
        heap: how the allocator of the measuring processes was set, `fresh` or `kept`.
        memray: version, or None.
        mlbench: version.
        governor: frequency governor of the first core, or None where there is none to see.
        cpu_limit: cores a container may use, or None without a limit.
        memory_limit_bytes: bytes a container may use, or None without a limit.
        settings: environment variables that steer BLAS, the allocator or generated code, such as OPENBLAS_CORETYPE; threads stand by
            themselves.
    """

    cpu: str
    cores: int
    system: str
    python: str
    numpy: str
    blas: str
    threads: int
    heap: str
    memray: str | None
    mlbench: str
    governor: str | None
    cpu_limit: float | None
    memory_limit_bytes: int | None
    settings: dict[str, str]


def environment(threads: int, heap: str) -> Environment:
    """Describe this process; `threads` and `heap` are what the measuring processes are told to use."""
    allowed = container(_read)
    return Environment(
        cpu=_cpu(),
        cores=cores(),
        system=f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        python=platform.python_version(),
        numpy=np.__version__,
        blas=_blas(),
        threads=threads,
        heap=heap,
        memray=_version("memray"),
        mlbench=__version__,
        governor=_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        cpu_limit=allowed.cpu_limit,
        memory_limit_bytes=allowed.memory_limit_bytes,
        settings=_settings(),
    )


def kernel_key() -> dict[str, Any]:
    """Return what decides which kernels are fastest here; without asking py-cpuinfo, which takes a second."""
    return {"cpu": _model_name(), "cores": cores(), "numpy": np.__version__, "blas": _blas(), "mlbench": __version__,
            "settings": _settings()}  # fmt: skip


def describe(found: Environment) -> str:
    """Return the machine in one line."""
    settings = "".join(f", {name}={value}" for name, value in found.settings.items())
    return (
        f"{found.cpu}, {found.cores} cores, {found.system}; Python {found.python}, NumPy {found.numpy}, {found.blas}, "
        f"{found.threads} BLAS thread{'s' if found.threads != 1 else ''}, {found.heap} heap{settings}"
    )


def _settings() -> dict[str, str]:
    return {name: os.environ[name] for name in sorted(os.environ) if _STEERING.match(name) and not name.endswith("_THREADS")}


def _optional(name: str) -> Any:  # a module or None
    with contextlib.suppress(ImportError):
        return importlib.import_module(name)
    return None


def _cpu() -> str:
    cpuinfo = _optional("cpuinfo")
    if cpuinfo is not None:
        brand = cpuinfo.get_cpu_info().get("brand_raw")
        if brand:
            return str(brand)
    return _model_name()


def _model_name() -> str:
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _blas() -> str:
    threadpoolctl = _optional("threadpoolctl")
    if threadpoolctl is not None:
        for pool in threadpoolctl.threadpool_info():
            if pool.get("user_api") == "blas":
                kernels = f" ({pool['architecture']})" if pool.get("architecture") else ""
                return f"{pool['internal_api']} {pool.get('version') or '?'}{kernels}"
    built: dict[str, Any] = np.show_config(mode="dicts") or {}  # type: ignore[assignment]  # a dict in this mode
    blas = built.get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown BLAS')} {blas.get('version', '')}".strip()


def _version(package: str) -> str | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None


def _read(path: str) -> str | None:
    with contextlib.suppress(OSError):
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    return None
