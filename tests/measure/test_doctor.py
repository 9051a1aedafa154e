"""What the doctor finds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mlbench.cli import main
from mlbench.measure import Environment
from mlbench.measure.system.doctor import Finding, Mood, examine

CPUINFO = "/proc/cpuinfo"
PAGES = "/sys/kernel/mm/transparent_hugepage/enabled"
BOOST = "/sys/devices/system/cpu/cpufreq/boost"
PRESSURE = "/proc/pressure/cpu"
SIBLINGS = "/sys/devices/system/cpu/smt/active"
STAT = "/proc/stat"
NO_TURBO = "/sys/devices/system/cpu/intel_pstate/no_turbo"


def here(
    governor: str | None = "performance",
    cpu_limit: float | None = None,
    settings: dict[str, str] | None = None,
    memory_limit_bytes: int | None = None,
) -> Environment:
    """Return a quiet machine of four cores, but for what is given."""
    software = ("Linux 6", "3.12", "2.1", "openblas (Haswell)", 1, "fresh", None, "0.1")
    return Environment("Some CPU", 4, *software, governor, cpu_limit, memory_limit_bytes, settings or {})


def pressure(share: str) -> str:
    """Return what the kernel says of tasks that wait for a core."""
    return f"some avg10={share} avg60=35.94 avg300=27.29 total=370490881\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0"


def files(**texts: str) -> Callable[[str], str | None]:
    """Return a reader of these files; a quiet machine has the others."""
    quiet = {CPUINFO: "flags: fpu sse", PAGES: "always [madvise] never", BOOST: "0", SIBLINGS: "0", PRESSURE: pressure("0.00")}
    return {**quiet, **texts}.get


def found(
    what: str,
    environment: Environment | None = None,
    load: float | None = 0.1,
    threads: int | None = 4,
    texts: dict[str, str] | None = None,
) -> Finding:
    """Return one finding."""
    findings = examine(environment or here(), load, threads, files(**(texts or {})))
    return next(each for each in findings if each.what == what)


def test_a_quiet_machine_disturbs_nothing() -> None:
    """Where nothing disturbs, everything is fine and nothing is advised."""
    findings = examine(here(), 0.0, 4, files())
    assert {each.mood for each in findings} == {Mood.FINE}
    assert {each.advice for each in findings} == {""}


@pytest.mark.parametrize(("load", "mood"), [(0.8, Mood.FINE), (0.81, Mood.DISTURBS), (None, Mood.UNKNOWN)])
def test_load(load: float | None, mood: Mood) -> None:
    """A fifth of a runnable task per core goes unnoticed; more takes turns away."""
    assert found("load", load=load).mood is mood


@pytest.mark.parametrize(("governor", "mood"), [("performance", Mood.FINE), ("powersave", Mood.DISTURBS), (None, Mood.UNKNOWN)])
def test_governor(governor: str | None, mood: Mood) -> None:
    """Any governor but performance disturbs, and the command that changes it is given."""
    finding = found("frequency governor", here(governor))
    assert finding.mood is mood
    assert ("cpupower" in finding.advice) == (mood is Mood.DISTURBS)


@pytest.mark.parametrize(
    ("texts", "mood", "advised"),
    [
        ({BOOST: "1"}, Mood.DISTURBS, "echo 0 | sudo tee"),
        ({BOOST: "0"}, Mood.FINE, ""),
        ({NO_TURBO: "1"}, Mood.FINE, ""),
        ({NO_TURBO: "0", BOOST: "1"}, Mood.DISTURBS, "echo 1 | sudo tee"),
    ],
    ids=["boost", "no-boost", "no-turbo", "turbo"],
)
def test_turbo(texts: dict[str, str], mood: Mood, advised: str) -> None:
    """Turbo disturbs where it is on; the advice writes the file that this machine has."""
    finding = found("turbo", texts=texts)
    assert finding.mood is mood
    assert finding.advice.startswith(advised)


@pytest.mark.parametrize(("limit", "mood"), [(None, Mood.FINE), (4.0, Mood.FINE), (3.9, Mood.DISTURBS)])
def test_container_limit(limit: float | None, mood: Mood) -> None:
    """A quota below the cores stops the process in mid-turn."""
    assert found("container CPU limit", here(cpu_limit=limit)).mood is mood


@pytest.mark.parametrize(
    ("limit", "stat", "mood", "said"),
    [
        (4.0, "nr_periods 9\nnr_throttled 0", Mood.FINE, "4 of 4 cores, stopped 0 times"),
        (4.0, "nr_periods 9\nnr_throttled 3", Mood.DISTURBS, "4 of 4 cores, stopped 3 times"),
        (2.0, "", Mood.DISTURBS, "2 of 4 cores"),
    ],
    ids=["never", "thrice", "nobody-counts"],
)
def test_how_often_the_container_was_stopped(limit: float, stat: str, mood: Mood, said: str) -> None:
    """A quota that was used up disturbs even where it is as large as the machine, because several processes share it."""
    finding = found("container CPU limit", here(cpu_limit=limit), texts={"/sys/fs/cgroup/cpu.stat": stat})
    assert (finding.mood, finding.found) == (mood, said)


@pytest.mark.parametrize(("limit", "mood"), [(None, Mood.FINE), (1 << 30, Mood.FINE), ((1 << 30) - 1, Mood.DISTURBS)])
def test_memory_limit(limit: int | None, mood: Mood) -> None:
    """A container with less than a gigabyte may not hold the large cells."""
    assert found("container memory limit", here(memory_limit_bytes=limit)).mood is mood


@pytest.mark.parametrize(
    ("text", "mood"),
    [(pressure("5.00"), Mood.FINE), (pressure("5.01"), Mood.DISTURBS), ("", Mood.UNKNOWN), ("some avg10=much", Mood.UNKNOWN)],
    ids=["some", "more", "empty", "no-number"],
)
def test_waiting_for_a_core(text: str, mood: Mood) -> None:
    """Tasks that wait for a core take turns from what is measured; the kernel says how long some of them waited."""
    assert found("waiting for a core", texts={PRESSURE: text}).mood is mood


@pytest.mark.parametrize(("active", "mood"), [("0", Mood.FINE), ("1", Mood.DISTURBS)])
def test_threads_that_share_a_core(active: str, mood: Mood) -> None:
    """Where two threads share a core, its other half may be somebody else's."""
    assert found("threads that share a core", texts={SIBLINGS: active}).mood is mood


def test_governors_of_all_cores_count() -> None:
    """One core of four with another governor is enough to disturb, and both are named."""
    finding = found("frequency governor", texts={"/sys/devices/system/cpu/cpu3/cpufreq/scaling_governor": "powersave"})
    assert (finding.mood, finding.found) == (Mood.DISTURBS, "performance and powersave")


@pytest.mark.parametrize(
    ("stat", "said"),
    [
        ("cpu  10 0 0 80 0 0 0 10 0 0\ncpu0 1", "yes, 10 % of its time stolen"),
        ("cpu  10 0 0 989 0 0 0 1 0 0", "yes"),
        ("cpu  10 0", "yes"),
        ("", "yes"),
    ],
    ids=["stolen", "hardly", "short", "none"],
)
def test_stolen_time(stat: str, said: str) -> None:
    """What the hypervisor gave to others is said where it is more than a hundredth."""
    assert found("virtual machine", texts={CPUINFO: "flags: fpu hypervisor", STAT: stat}).found == said


@pytest.mark.parametrize(("text", "mood"), [("[always] madvise never", Mood.DISTURBS), ("always madvise [never]", Mood.FINE)])
def test_huge_pages(text: str, mood: Mood) -> None:
    """Huge pages for everything come or not as it happens."""
    assert found("transparent huge pages", texts={PAGES: text}).mood is mood


def test_virtual_machine() -> None:
    """A hypervisor is seen by its flag."""
    assert found("virtual machine", texts={CPUINFO: "flags: fpu hypervisor"}).mood is Mood.DISTURBS


@pytest.mark.parametrize(
    ("threads", "limit", "mood"), [(4, None, Mood.FINE), (5, None, Mood.DISTURBS), (4, 2.0, Mood.DISTURBS), (None, None, Mood.UNKNOWN)]
)
def test_oversubscribed_blas(threads: int | None, limit: float | None, mood: Mood) -> None:
    """More BLAS threads than cores, or than the container may use, wait for each other."""
    assert found("BLAS threads", here(cpu_limit=limit), threads=threads).mood is mood


@pytest.mark.parametrize(("flags", "mood"), [("avx2 avx512f", Mood.DISTURBS), ("avx2", Mood.FINE)])
def test_forced_kernels(flags: str, mood: Mood) -> None:
    """Kernels that were forced below what the CPU has are told; forced ones that fit are not."""
    assert found("BLAS kernels", here(settings={"OPENBLAS_CORETYPE": "Haswell"}), texts={CPUINFO: flags}).mood is mood


def test_what_cannot_be_read_is_unknown() -> None:
    """A system without these files gives no verdict on them, and no error."""
    findings = examine(here(None), None, None, lambda path: None)
    unknown = {each.what for each in findings if each.mood is Mood.UNKNOWN}
    dark = {"load", "waiting for a core", "frequency governor", "turbo", "threads that share a core", "transparent huge pages"}
    assert unknown == dark | {"virtual machine", "BLAS threads"}


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`mlbench doctor` has a row for each thing it looks at."""
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert all(each.what in out for each in examine(here(), 0.0, 4, files()))
