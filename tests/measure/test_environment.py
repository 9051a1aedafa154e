"""What was measured on: fields, container limits, and a machine where NumPy is all there is."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import math
import os
import platform
import sys
from typing import Any

import numpy as np
import pytest

import mlbench
from mlbench.measure import Environment, describe, environment
from mlbench.measure.system.cgroups import Container, bytes_limit, container, cpu_limit

MODULE = importlib.import_module("mlbench.measure.system.environment")
"""The module; `mlbench.measure.system.environment` is the function of the same name."""
GIVEN = Environment(
    cpu="Some CPU @ 3 GHz",
    cores=8,
    system="Linux 6.1",
    python="3.12.1",
    numpy="2.1.0",
    blas="openblas 0.3.27 (Haswell)",
    threads=2,
    heap="kept",
    memray="1.15.0",
    mlbench="0.1.0",
    governor="performance",
    cpu_limit=1.5,
    memory_limit_bytes=1 << 30,
    settings={},
)
FILES = {
    "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave",
    "/sys/fs/cgroup/cpu.max": "150000 100000",
    "/sys/fs/cgroup/memory.max": "1073741824",
    "/proc/cpuinfo": "processor\t: 0\nmodel name\t: Tested CPU: 9000\nmodel name\t: Second CPU",
}
OPTIONAL = ("cpuinfo", "threadpoolctl")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out py-cpuinfo, which takes a second."""
    monkeypatch.setitem(sys.modules, "cpuinfo", None)


@pytest.fixture
def numpy_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process where none of the optional modules can be imported."""
    for name in OPTIONAL:
        monkeypatch.setitem(sys.modules, name, None)


def test_versions_are_those_that_run(quick: None) -> None:
    """Python, NumPy, memray and mlbench are the ones of this process."""
    found = environment(1, "fresh")
    assert (found.python, found.numpy, found.mlbench) == (platform.python_version(), np.__version__, mlbench.__version__)
    assert found.system == f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}"
    memray = None if sys.platform == "win32" else importlib.metadata.version("memray")
    assert found.memray == memray


def test_threads_and_heap_are_what_the_workers_are_told(quick: None) -> None:
    """They are settings of the measuring processes, not facts of this one."""
    found = environment(7, "kept")
    assert (found.threads, found.heap) == (7, "kept")


def test_the_cpu_is_what_py_cpuinfo_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """py-cpuinfo's brand comes first, on every system."""

    class CpuInfo:
        @staticmethod
        def get_cpu_info() -> dict[str, Any]:
            return {"brand_raw": "Branded CPU"}

    monkeypatch.setitem(sys.modules, "cpuinfo", CpuInfo)
    assert environment(1, "fresh").cpu == "Branded CPU"


def test_the_cpu_is_read_from_the_system_without_py_cpuinfo(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without py-cpuinfo the first model name of /proc/cpuinfo counts, colons in it included."""
    monkeypatch.setattr(MODULE, "_read", FILES.get)
    assert environment(1, "fresh").cpu == "Tested CPU: 9000"


def test_governor_and_limits_are_read_from_the_system(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The frequency governor and both limits of the container come from their files."""
    monkeypatch.setattr(MODULE, "_read", FILES.get)
    found = environment(1, "fresh")
    assert (found.governor, found.cpu_limit, found.memory_limit_bytes) == ("powersave", 1.5, 1 << 30)


def test_what_is_not_there_is_none(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without these files (macOS, Windows) nothing is made up."""
    monkeypatch.setattr(MODULE, "_read", lambda path: None)
    found = environment(1, "fresh")
    assert (found.governor, found.cpu_limit, found.memory_limit_bytes) == (None, None, None)
    assert found.cpu


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max 100000", None),
        ("max", None),
        (None, None),
        ("", None),
        ("150000 100000", 1.5),
        ("200000", 2.0),
        ("10000 50000", 0.2),
    ],
    ids=["unlimited", "unlimited-short", "no-file", "empty", "one-and-a-half", "default-period", "fifth"],
)
def test_cpu_limit(text: str | None, expected: float | None) -> None:
    """`cpu.max` is quota and period in microseconds; its quotient is cores, and `max` is no limit."""
    assert expected == cpu_limit(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("max", None), ("9223372036854771712", None), (None, None), ("", None), ("0", 0), ("536870912", 1 << 29)],
    ids=["unlimited", "unlimited-1", "no-file", "empty", "zero", "half-a-gigabyte"],
)
def test_memory_limit(text: str | None, expected: int | None) -> None:
    """`memory.max` is bytes or `max`."""
    assert expected == bytes_limit(text)


CGROUPS_V1 = {
    "/proc/self/cgroup": "4:memory:/jobs/one\n1:cpu,cpuacct:/jobs/one\n0::/",
    "/sys/fs/cgroup/cpu,cpuacct/jobs/one/cpu.cfs_quota_us": "-1",
    "/sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_quota_us": "150000",
    "/sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_period_us": "100000",
    "/sys/fs/cgroup/cpu,cpuacct/jobs/one/cpu.stat": "nr_periods 9\nnr_throttled 2\nthrottled_time 7",
    "/sys/fs/cgroup/memory/jobs/one/memory.limit_in_bytes": "536870912",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
}
CGROUPS_V2 = {
    "/proc/self/cgroup": "0::/user/shell",
    "/sys/fs/cgroup/user/shell/cpu.max": "max 100000",
    "/sys/fs/cgroup/user/cpu.max": "300000 100000",
    "/sys/fs/cgroup/user/shell/memory.max": "max",
    "/sys/fs/cgroup/memory.max": "1073741824",
}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (CGROUPS_V1, Container(1.5, 1 << 29, 2)),
        (CGROUPS_V2, Container(3.0, 1 << 30, None)),
        ({"/proc/self/cgroup": "0::/elsewhere", "/sys/fs/cgroup/cpu.max": "50000 100000"}, Container(0.5)),
        ({"/proc/self/cgroup": "nonsense"}, Container()),
        ({}, Container()),
    ],
    ids=["version-1", "version-2", "not-mounted", "nonsense", "nothing"],
)
def test_the_tightest_limit_of_all_groups_holds(files: dict[str, str], expected: Container) -> None:
    """Limits of the process's own group and of those above it count, in both versions, also where only the root is mounted."""
    assert container(files.get) == expected


def test_numpy_alone_fills_every_field(numpy_alone: None) -> None:
    """Without py-cpuinfo and threadpoolctl every field that must be there is there, and says something."""
    found = environment(1, "fresh")
    for name in ("cpu", "system", "python", "numpy", "blas", "mlbench"):
        assert getattr(found, name).strip()
    assert found.cores >= 1


@pytest.mark.parametrize("absent", OPTIONAL)
def test_one_absent_module_does_not_take_the_others_along(monkeypatch: pytest.MonkeyPatch, absent: str) -> None:
    """Each optional module is missed by itself."""
    monkeypatch.setitem(sys.modules, "cpuinfo", None)
    monkeypatch.setitem(sys.modules, absent, None)
    assert environment(1, "fresh").cores >= 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no process to a core")
def test_cores_are_those_this_process_may_use(quick: None) -> None:
    """A process that is pinned to one core has one core, however many the machine has."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert environment(1, "fresh").cores == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_the_environment_is_plain_data(quick: None) -> None:
    """Every field is text, a finite number, None or a table of texts, so that it can be saved and compared."""
    found = dataclasses.asdict(environment(1, "fresh"))
    for value in (*found.values(), *found["settings"].values()):
        assert value is None or isinstance(value, (str, int, dict)) or math.isfinite(value)


def test_settings_are_what_steers_blas_and_the_allocator(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What chooses kernels, allocator or instructions is written down; threads stand by themselves, and others are nobody's concern."""
    given = {"GLIBC_TUNABLES": "glibc.malloc.check=1", "MALLOC_ARENA_MAX": "1", "MLBENCH_CODEGEN": "off", "OPENBLAS_CORETYPE": "Haswell"}
    for name in environment(1, "fresh").settings:
        monkeypatch.delenv(name)
    for name, value in {**given, "OPENBLAS_NUM_THREADS": "3", "MY_OPENBLAS_THING": "x", "HOME": "/home/me"}.items():
        monkeypatch.setenv(name, value)
    assert environment(1, "fresh").settings == given


def test_describe_names_settings() -> None:
    """What steers BLAS or the allocator stands at the end of the line."""
    found = describe(dataclasses.replace(GIVEN, settings={"OPENBLAS_CORETYPE": "Haswell"}))
    assert found.endswith(", kept heap, OPENBLAS_CORETYPE=Haswell")


def test_describe_is_one_line() -> None:
    """The machine in one line, as the summary prints it."""
    expected = "Some CPU @ 3 GHz, 8 cores, Linux 6.1; Python 3.12.1, NumPy 2.1.0, openblas 0.3.27 (Haswell), 2 BLAS threads, kept heap"
    assert expected == describe(GIVEN)


def test_describe_counts_one_thread_in_the_singular() -> None:
    """One thread is not "1 threads"."""
    assert ", 1 BLAS thread, kept heap" in describe(dataclasses.replace(GIVEN, threads=1))
