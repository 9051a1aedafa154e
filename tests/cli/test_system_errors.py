"""What the system refuses is one line with the place, the reason and what to do, and exit code 2; exit code 1 is a verdict alone."""

from __future__ import annotations

import errno
import io
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

import mlbench.cli
from mlbench.cache import VARIABLE, CacheWarning, cache_folder, recall, remember
from mlbench.cli import entry_point, explain, main
from mlbench.errors import FileError, WorkerError
from mlbench.files import check_place, print_to, write_atomically
from mlbench.results import Measurement, save
from mlbench.studies.ab.checkouts import find_repository, held
from support.repositories import Project
from support.saved_results import case, result

Write = Callable[[str, Measurement], str]
posix = pytest.mark.skipif(sys.platform == "win32", reason="pipes and devices there are others")


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Save a row as a result and return its path."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return lambda name, row: str(save(result(row), tmp_path / name))


def failing(error: BaseException) -> Callable[..., NoReturn]:
    """Return a function that raises this."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    return fail


def refused(number: int, path: object = "/some/place") -> OSError:
    """Return what the system raises."""
    return OSError(number, os.strerror(number), path)


def deserted() -> io.TextIOWrapper:
    """Return a stream whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w", buffering=1, encoding="utf-8")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (refused(errno.EACCES), "/some/place: Permission denied; this user may not; change its rights, or name another place"),
        (refused(errno.ENOSPC), "/some/place: No space left on device; make room there, or name another place"),
        (refused(errno.ENOENT, b"/some/place"), "/some/place: No such file or directory; name one that exists"),
        (refused(errno.ELOOP), "/some/place: Too many levels of symbolic links; name another place"),
        (refused(errno.EIO, 7), "file 7: Input/output error; name another place"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "the system refused something: Cannot allocate memory"),
        (OSError("no more"), "the system refused something: no more"),
    ],
    ids=["rights", "full", "bytes", "other", "number", "nowhere", "text"],
)
def test_whatever_the_system_refuses_is_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: OSError, told: str
) -> None:
    """In any command, and not a traceback with the exit code of a red gate."""
    monkeypatch.setattr(explain, "explanation", failing(error))
    assert main(["explain"]) == 2
    assert capsys.readouterr().err == f"mlbench: {told}\n"


@pytest.mark.parametrize("in_cache", [True, False], ids=["cache", "elsewhere"])
def test_what_is_refused_in_the_cache_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, in_cache: bool
) -> None:
    """Whoever cannot use the folder is told how to name another one; a place elsewhere has nothing to do with it."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    place = tmp_path / ("cache" if in_cache else "other") / "ab"
    monkeypatch.setattr(explain, "explanation", failing(refused(errno.EROFS, str(place))))
    assert main(["explain"]) == 2
    assert (f"${VARIABLE} names another folder" in capsys.readouterr().err) is in_cache


def test_a_comparison_with_an_unusable_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Is refused in one line, with exit code 2."""
    project = Project(tmp_path / "project")
    project.write("a.txt", "")
    project.commit()
    (tmp_path / "file").touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file" / "cache"))
    monkeypatch.chdir(project.root)
    assert main(["ab", "HEAD", "--same-env"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "file") in line
    assert f"${VARIABLE} names another folder" in line


def test_a_lock_that_the_system_refuses_is_no_second_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that has none."""
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    Project(tmp_path / "project")
    monkeypatch.setattr(fcntl, "flock", failing(refused(errno.ENOLCK)))
    with pytest.raises(FileError, match="lock: cannot be locked"), held(find_repository(tmp_path / "project")):
        pass


def test_a_judge_that_cannot_judge_is_not_red(write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever kept it from a verdict; a command that measures ends with 1 then."""
    monkeypatch.setattr("mlbench.cli.gate.judge_results", failing(WorkerError("a worker died")))
    monkeypatch.setattr(explain, "explanation", failing(WorkerError("a worker died")))
    assert main(["gate", write("before.json", case()), write("after.json", case())]) == 2
    assert main(["explain"]) == 1
    assert capsys.readouterr().err == "mlbench: a worker died\n" * 2


def test_a_fault_of_ours_is_not_red(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Python's own exit code of a traceback is 1."""
    monkeypatch.setattr(mlbench.cli, "main", failing(KeyError("footprint")))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as end:
        entry_point()
    assert end.value.code == 2
    assert "KeyError: 'footprint'" in capsys.readouterr().err


@posix
@pytest.mark.parametrize(("row", "code"), [(case(), 0), (case(ratio=9), 1)], ids=["pass", "red"])
def test_a_reader_that_leaves_takes_no_verdict_with_it(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, row: Measurement, code: int
) -> None:
    """As `head` does; what is printed on either stream goes nowhere then, in silence."""
    files = write("before.json", case()), write("after.json", row)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))  # which is told on standard error
    with deserted() as out, deserted() as aside:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", aside)
        assert main(["gate", *files]) == code


@posix
def test_a_reader_that_leaves_early_ends_a_command_quietly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where something else than a print meets the broken pipe; the exit code is that of the signal."""
    monkeypatch.setattr(explain, "explanation", failing(BrokenPipeError(errno.EPIPE, "Broken pipe")))
    assert main(["explain"]) == 141
    assert capsys.readouterr() == ("", "")


@posix
def test_printing_goes_on_after_the_reader_left() -> None:
    """What is printed later goes nowhere, and closing the stream does not fail."""
    with deserted() as stream:
        for _ in range(2):
            print_to(stream, "line")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device")
def test_a_full_disk_below_standard_output_is_told() -> None:
    """Once: the stream is empty afterwards, so that the end of the process does not fail again."""
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        with pytest.raises(FileError, match="/dev/full: No space left on device; make room there"):
            print_to(full, "line")
        print_to(full, "line")


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_stream_that_is_closed_is_no_error(write: Write, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """As after `>&-`: Python has None then."""
    monkeypatch.setattr(sys, name, None)
    assert main(["gate", write("before.json", case()), write("after.json", case())]) == 0
    getattr(sys, name).close()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--json", "x/now.json"), ("run", "--output", "x/now.txt"), ("run", "--report", "x/page.html"),
        ("ablation", "--json", "x/now.json"), ("roofline", "--json", "x/now.json"), ("peers", "--json", "x/now.json"),
        ("calibrate", "--output", "x/now.txt"), ("report", "before.json", "-o", "x/page.html"),
        ("gate", "before.json", "after.json", "--output", "x/now.txt"), ("baseline", "update", "x/baseline.json", "before.json"),
        ("baseline", "add", "x/baseline.json", "before.json"),
    ],
    ids=lambda value: "-".join(value[:2]),
)  # fmt: skip
def test_a_folder_that_cannot_be_written_is_refused_first(
    write: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    number: int,
) -> None:
    """Before anything is measured for it or read."""
    write("before.json", case())
    write("after.json", case())
    monkeypatch.chdir(tmp_path)
    Path("x").mkdir()
    monkeypatch.setattr(tempfile, "TemporaryFile", failing(refused(number, "x")))
    assert main(list(arguments)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert os.strerror(number) in line
    assert "x/" in line


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device")
def test_a_device_that_is_full_is_told() -> None:
    """A device is written to without a temporary file, and refuses as a folder does."""
    check_place(Path("/dev/full"))
    with pytest.raises(FileError, match="/dev/full: No space left on device"):
        write_atomically("/dev/full", "text")


@pytest.mark.parametrize("act", [check_place, lambda path: write_atomically(path, "")], ids=["check", "write"])
@pytest.mark.parametrize("name", ["x" * 300, "loop"])
@posix
def test_a_place_that_cannot_be_looked_at_is_told(tmp_path: Path, act: Callable[[Path], Any], name: str) -> None:
    """A name that is too long, and a link to itself, are errors of ours."""
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(FileError, match=name):
        act(tmp_path / name / "now.json")


def test_a_check_leaves_nothing(tmp_path: Path) -> None:
    """Nor does it touch the file that is there."""
    (tmp_path / "now.json").write_text("old")
    check_place(tmp_path / "now.json")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("now.json", "old")]


def test_a_summary_that_cannot_be_written_is_refused_first(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would take the place of the verdict otherwise."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "none" / "summary.md"))
    assert main(["gate", write("before.json", case()), write("after.json", case())]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "summary.md: its folder does not exist" in captured.err
    assert "GITHUB_STEP_SUMMARY" in captured.err


def test_a_folder_of_graphs_that_is_not_there_is_refused(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not a page without them."""
    pytest.importorskip("jinja2")
    assert main(["report", write("now.json", case()), "-o", str(tmp_path / "page.html"), "--graphs", str(tmp_path / "none")]) == 2
    assert "none: no such folder" in capsys.readouterr().err


@posix
def test_a_user_without_a_home_is_told_of_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose user is a number; what is only remembered is found out again."""
    for name in (VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", failing(RuntimeError("Could not determine home directory.")))
    with pytest.raises(FileError, match=rf"no home folder .*\${VARIABLE} names a folder"):
        cache_folder()
    with pytest.warns(CacheWarning, match=rf"nothing is remembered: .*\${VARIABLE}"):
        assert recall("choices", {}) is None
    remember("choices", {}, 1)


@posix
def test_a_relative_place_for_caches_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG says so: it would lie in whatever folder the command runs in."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder() == Path("/home/me/.cache/mlbench")
