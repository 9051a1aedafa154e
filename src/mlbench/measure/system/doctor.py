"""What on this machine disturbs measuring, and what to do about it. Everything is read; nothing is changed."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from mlbench.measure.system.cgroups import container
from mlbench.measure.system.environment import Environment
from mlbench.units import format_bytes

MOST_LOAD = 0.2
"""Runnable tasks per core that go unnoticed; above, turns are taken away from what is measured."""
MOST_WAITING = 5.0
"""Per cent of the last ten seconds in which some task waited for a core."""
LEAST_MEMORY_BYTES = 1 << 30
"""The largest cells and the ceilings hold some hundred megabytes in several processes, one after the other."""
MOST_STOLEN = 0.01
"""Share of the time since boot that other virtual machines took."""

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
        _waiting(look),
        _governor(environment, look),
        _turbo(look),
        _siblings(look),
        _container(environment, look),
        _memory(environment),
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
    return Finding("load", found, Mood.DISTURBS, "wait, or end other tasks; ratios suffer less than seconds, and their intervals widen")


def _waiting(read: Read) -> Finding:
    text = read("/proc/pressure/cpu") or ""
    share = text.partition("avg10=")[2].partition(" ")[0]
    try:
        waited = float(share)
    except ValueError:
        return Finding("waiting for a core", "not visible here", Mood.UNKNOWN)
    found = f"{waited:.0f} % of the last 10 s"
    if waited <= MOST_WAITING:
        return Finding("waiting for a core", found, Mood.FINE)
    advice = "tasks compete for the cores; find them with top, and end them or wait"
    return Finding("waiting for a core", found, Mood.DISTURBS, advice)


def _governor(environment: Environment, read: Read) -> Finding:
    every = [read(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor") for core in range(environment.cores)]
    governors = sorted({each for each in (environment.governor, *every) if each})
    if not governors:
        return Finding("frequency governor", "not visible here", Mood.UNKNOWN)
    if governors == ["performance"]:
        return Finding("frequency governor", "performance", Mood.FINE)
    return Finding("frequency governor", " and ".join(governors), Mood.DISTURBS, "sudo cpupower frequency-set --governor performance")


def _turbo(read: Read) -> Finding:
    boost, no_turbo = read("/sys/devices/system/cpu/cpufreq/boost"), read("/sys/devices/system/cpu/intel_pstate/no_turbo")
    if boost is None and no_turbo is None:
        return Finding("turbo", "not visible here", Mood.UNKNOWN)
    if boost == "0" or no_turbo == "1":
        return Finding("turbo", "off", Mood.FINE)
    command = "echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost"
    if no_turbo is not None:
        command = "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo"
    return Finding("turbo", "on", Mood.DISTURBS, f"{command}   (seconds drift with the temperature; ratios drift less)")


def _siblings(read: Read) -> Finding:
    active = read("/sys/devices/system/cpu/smt/active")
    if active is None:
        return Finding("threads that share a core", "not visible here", Mood.UNKNOWN)
    if active != "1":
        return Finding("threads that share a core", "no", Mood.FINE)
    advice = "a task on the other thread of a core slows this one; echo off | sudo tee /sys/devices/system/cpu/smt/control"
    return Finding("threads that share a core", "yes", Mood.DISTURBS, advice)


def _container(environment: Environment, read: Read) -> Finding:
    if environment.cpu_limit is None:
        return Finding("container CPU limit", "none", Mood.FINE)
    throttled = container(read).throttled
    stops = "" if throttled is None else f", stopped {throttled} times"
    found = f"{environment.cpu_limit:g} of {environment.cores} cores{stops}"
    if environment.cpu_limit >= environment.cores and not throttled:
        return Finding("container CPU limit", found, Mood.FINE)
    return Finding(
        "container CPU limit", found, Mood.DISTURBS, "the kernel stops the process during a round; give it whole cores (a cpuset, no quota)"
    )


def _memory(environment: Environment) -> Finding:
    if environment.memory_limit_bytes is None:
        return Finding("container memory limit", "none", Mood.FINE)
    found = format_bytes(environment.memory_limit_bytes)
    if environment.memory_limit_bytes >= LEAST_MEMORY_BYTES:
        return Finding("container memory limit", found, Mood.FINE)
    advice = f"large cells may be slowed or killed; allow {format_bytes(LEAST_MEMORY_BYTES)}, or measure smaller ones"
    return Finding("container memory limit", found, Mood.DISTURBS, advice)


def _huge_pages(read: Read) -> Finding:
    text = read("/sys/kernel/mm/transparent_hugepage/enabled")
    if text is None:
        return Finding("transparent huge pages", "not visible here", Mood.UNKNOWN)
    mode = text.partition("[")[2].partition("]")[0] or text
    if mode != "always":
        return Finding("transparent huge pages", mode, Mood.FINE)
    advice = "chance decides whether large arrays get huge pages; echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled"
    return Finding("transparent huge pages", mode, Mood.DISTURBS, advice)


def _hypervisor(read: Read) -> Finding:
    flags = read("/proc/cpuinfo")
    if flags is None:
        return Finding("virtual machine", "not visible here", Mood.UNKNOWN)
    if "hypervisor" not in flags:
        return Finding("virtual machine", "no", Mood.FINE)
    advice = "neighbours take time that no process here can see; trust ratios of interleaved rounds, never seconds of different runs"
    stolen = _stolen(read("/proc/stat"))
    if stolen is not None and stolen > MOST_STOLEN:
        return Finding(
            "virtual machine", f"yes, {100 * stolen:.0f} % of its time stolen", Mood.DISTURBS, f"ask for cores of its own; {advice}"
        )
    return Finding("virtual machine", "yes", Mood.DISTURBS, advice)


def _stolen(text: str | None) -> float | None:
    """Return the share of the time since boot that the hypervisor gave to others: the eighth number of the first line (proc(5))."""
    first = (text or "").partition("\n")[0].split()
    if len(first) < 9 or first[0] != "cpu" or not all(each.isdecimal() for each in first[1:9]):
        return None
    ticks = [int(each) for each in first[1:9]]
    return ticks[7] / sum(ticks) if sum(ticks) else None


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
