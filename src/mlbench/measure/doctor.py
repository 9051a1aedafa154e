"""What on this machine disturbs measuring, and what to do about it. Everything is read; nothing is changed."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from mlbench.measure.environment import Environment

MOST_LOAD = 0.2
"""Runnable tasks per core that go unnoticed; above, turns are taken away from what is measured."""

Read = Callable[[str], str | None]


class Mood(Enum):
    """How a finding matters."""

    FINE = "fine"
    DISTURBS = "disturbs"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: the thing.
        found: its state, in words.
        mood: whether it disturbs measuring.
        advice: what to do about it; empty where nothing needs doing.
    """

    what: str
    found: str
    mood: Mood
    advice: str = ""


def examine(environment: Environment, load: float | None, threads: int | None, read: Read | None = None) -> tuple[Finding, ...]:
    """Look at everything that is known to disturb measuring.

    Args:
        environment: of this machine.
        load: runnable tasks of the last minute, or None where the system does not say.
        threads: threads BLAS would use, or None where nobody knows.
        read: returns the text of a system file, or None where it does not exist.
    """
    look = read or _read
    return (
        _load(environment, load),
        _governor(environment),
        _turbo(look),
        _container(environment),
        _huge_pages(look),
        _hypervisor(look),
        _threads(environment, threads),
        _kernels(environment, look),
    )


def load_now() -> float | None:
    """Return the load of the last minute, or None where the system does not say."""
    with contextlib.suppress(OSError, AttributeError):
        return os.getloadavg()[0]
    return None


def blas_threads_now() -> int | None:
    """Return the threads BLAS would use in this process, or None without threadpoolctl."""
    with contextlib.suppress(ImportError):
        pools = importlib.import_module("threadpoolctl").threadpool_info()
        return max((int(pool["num_threads"]) for pool in pools if pool.get("user_api") == "blas"), default=None)
    return None


def _load(environment: Environment, load: float | None) -> Finding:
    if load is None:
        return Finding("load", "the system does not say", Mood.UNKNOWN)
    found = f"{load:.2f} runnable tasks on {environment.cores} cores"
    if load <= MOST_LOAD * environment.cores:
        return Finding("load", found, Mood.FINE)
    return Finding(
        "load", found, Mood.DISTURBS, "wait, or end what else is running; ratios survive it better than seconds, with wider intervals"
    )


def _governor(environment: Environment) -> Finding:
    if environment.governor is None:
        return Finding("frequency governor", "not visible here", Mood.UNKNOWN)
    if environment.governor == "performance":
        return Finding("frequency governor", environment.governor, Mood.FINE)
    return Finding("frequency governor", environment.governor, Mood.DISTURBS, "sudo cpupower frequency-set --governor performance")


def _turbo(read: Read) -> Finding:
    boost, no_turbo = read("/sys/devices/system/cpu/cpufreq/boost"), read("/sys/devices/system/cpu/intel_pstate/no_turbo")
    if boost is None and no_turbo is None:
        return Finding("turbo", "not visible here", Mood.UNKNOWN)
    if boost == "0" or no_turbo == "1":
        return Finding("turbo", "off", Mood.FINE)
    command = "echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost"
    if no_turbo is not None:
        command = "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo"
    return Finding("turbo", "on", Mood.DISTURBS, f"{command}   (seconds drift with the temperature; ratios do so less)")


def _container(environment: Environment) -> Finding:
    if environment.cpu_limit is None:
        return Finding("container CPU limit", "none", Mood.FINE)
    found = f"{environment.cpu_limit:g} of {environment.cores} cores"
    if environment.cpu_limit >= environment.cores:
        return Finding("container CPU limit", found, Mood.FINE)
    return Finding(
        "container CPU limit", found, Mood.DISTURBS, "the kernel stops the process in mid-turn; give it whole cores (a cpuset, no quota)"
    )


def _huge_pages(read: Read) -> Finding:
    text = read("/sys/kernel/mm/transparent_hugepage/enabled")
    if text is None:
        return Finding("transparent huge pages", "not visible here", Mood.UNKNOWN)
    mode = text.partition("[")[2].partition("]")[0] or text
    if mode != "always":
        return Finding("transparent huge pages", mode, Mood.FINE)
    advice = "large arrays get huge pages or not as it happens; echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled"
    return Finding("transparent huge pages", mode, Mood.DISTURBS, advice)


def _hypervisor(read: Read) -> Finding:
    flags = read("/proc/cpuinfo")
    if flags is None:
        return Finding("virtual machine", "not visible here", Mood.UNKNOWN)
    if "hypervisor" not in flags:
        return Finding("virtual machine", "no", Mood.FINE)
    advice = "neighbours take turns that no process sees here; trust ratios of interleaved rounds, never seconds of different runs"
    return Finding("virtual machine", "yes", Mood.DISTURBS, advice)


def _threads(environment: Environment, threads: int | None) -> Finding:
    if threads is None:
        return Finding("BLAS threads", "threadpoolctl is not installed", Mood.UNKNOWN)
    available = min(environment.cores, environment.cpu_limit or environment.cores)
    found = f"{threads} unless set, on {available:g} cores"
    if threads <= available:
        return Finding("BLAS threads", found, Mood.FINE)
    return Finding(
        "BLAS threads",
        found,
        Mood.DISTURBS,
        "more threads than cores wait for each other; set OPENBLAS_NUM_THREADS (mlbench sets it for itself)",
    )


def _kernels(environment: Environment, read: Read) -> Finding:
    forced = environment.settings.get("OPENBLAS_CORETYPE")
    if forced is None:
        return Finding("BLAS kernels", environment.blas, Mood.FINE)
    found = f"OPENBLAS_CORETYPE={forced}: {environment.blas}"
    if "avx512f" in (read("/proc/cpuinfo") or "") and "SkylakeX" not in environment.blas:
        advice = "this CPU has AVX-512, and the forced kernels do not use it; unset OPENBLAS_CORETYPE to see what NumPy does by itself"
        return Finding("BLAS kernels", found, Mood.DISTURBS, advice)
    return Finding("BLAS kernels", found, Mood.FINE)


def _read(path: str) -> str | None:
    with contextlib.suppress(OSError):
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    return None
