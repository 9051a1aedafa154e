"""Files are written whole or not at all."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from mlbench.errors import FileError
from mlbench.files import file_name, write_atomically

OLD = "what was there before, and longer than what comes"


def test_a_new_file_holds_the_text_in_utf8(tmp_path: Path) -> None:
    """Text is written as UTF-8, and the path is returned."""
    path = tmp_path / "new.txt"
    assert path == write_atomically(str(path), "µs")
    assert "µs".encode() == path.read_bytes()


def test_bytes_are_written_as_they_are(tmp_path: Path) -> None:
    """Bytes reach the file unchanged, line ends included."""
    content = b"a\r\nb\n\x00\xff"
    assert content == write_atomically(tmp_path / "new.bin", content).read_bytes()


def test_an_old_file_is_replaced_whole(tmp_path: Path) -> None:
    """Nothing of a longer old file is left, and no temporary file beside it."""
    path = tmp_path / "file.txt"
    path.write_text(OLD)
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert [path] == list(tmp_path.iterdir())


def test_the_old_file_is_never_opened_for_writing(tmp_path: Path) -> None:
    """A reader that has the old file open goes on reading the old text: the new file takes the name, not the storage."""
    path = tmp_path / "file.txt"
    path.write_text(OLD)
    with path.open() as reader:
        if sys.platform == "win32":
            pytest.skip("Windows does not replace a file that is open")
        write_atomically(path, "new")
        assert reader.read() == OLD


@pytest.mark.parametrize("step", ["fdopen", "chmod", "replace"])
def test_a_failure_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Whichever step fails, the old text stays, no temporary file is left, and the error names the file and the reason."""
    path = tmp_path / "file.txt"
    path.write_text(OLD)

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"mlbench.files.os.{step}", fail)
    with pytest.raises(FileError) as caught:
        write_atomically(path, "new")
    assert str(path) in str(caught.value)
    assert "No space left on device" in str(caught.value)
    assert path.read_text() == OLD
    assert [path] == list(tmp_path.iterdir())


def test_an_interrupt_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle stays an interrupt, the old text stays, and no temporary file is left."""
    path = tmp_path / "file.txt"
    path.write_text(OLD)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mlbench.files.os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text() == OLD
    assert [path] == list(tmp_path.iterdir())


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    """A folder that does not exist is refused and not made, and the message says what to do."""
    path = tmp_path / "missing" / "file.txt"
    with pytest.raises(FileError) as caught:
        write_atomically(path, "new")
    assert str(path) in str(caught.value)
    assert "name a file in a folder that exists" in str(caught.value)
    assert not path.parent.exists()


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    """A path that is a folder is refused, and nothing is left beside it."""
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(FileError, match="folder: cannot write"):
        write_atomically(path, "new")
    assert path.is_dir()
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no umask")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o000])
def test_the_mode_is_that_of_an_ordinary_open(tmp_path: Path, mask: int) -> None:
    """A new file has the mode that `open` would have given it, and the process keeps its umask."""
    before = os.umask(mask)
    try:
        ordinary = tmp_path / "ordinary.txt"
        ordinary.write_text("x")
        written = write_atomically(tmp_path / "written.txt", "x")
        after = os.umask(mask)
    finally:
        os.umask(before)
    assert mask == after
    assert stat.S_IMODE(ordinary.stat().st_mode) == stat.S_IMODE(written.stat().st_mode)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    """What is no regular file, such as a pipe or a device, is written to and not replaced."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(pipe, "text")
    assert os.read(reader, 10) == b"text"
    os.close(reader)
    assert pipe.is_fifo()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_keeps_pointing(tmp_path: Path) -> None:
    """The file behind a symbolic link is replaced, and the link stays."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old", encoding="utf-8")
    link.symlink_to(target)
    write_atomically(link, "new")
    assert (target.read_text(encoding="utf-8"), link.is_symlink()) == ("new", True)


def test_names_that_differ_get_files_that_differ() -> None:
    """Also where the same characters are replaced, and where they are alike but for what is too long; no name is too long for a file."""
    long = "x" * 300
    names = ["a/b", "a_b", "a:b", "é", "è", long, f"y{long}"]
    assert len({file_name(name) for name in names}) == len(names)
    assert max(len(file_name(name).encode()) for name in names) < 200
    assert file_name("optimized-b8-h64") == "optimized-b8-h64"
