"""Files are written whole or not at all, and read up to a size that is known before; what the system refuses is told in a line.

A reader never meets half a file: the text goes to a temporary file in the same folder, which then takes the name in one
step (`os.replace` is atomic on POSIX and Windows when both names are on one file system).
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from pathlib import Path
from typing import TextIO

from mlbench.errors import FileError

_LONGEST = 120
_PART_BYTES = 1 << 20
"""What is read at a time: a read makes room for all it is asked for, however little comes."""
_TRIED_BYTES = 1 << 16
"""Less than any file of ours that is worth keeping."""
_ADVICE = {
    errno.EACCES: "this user may not; change its rights, or name another place",
    errno.EPERM: "this user may not; change its rights, or name another place",
    errno.EROFS: "name a place on another file system",
    errno.ENOSPC: "make room there, or name another place",
    errno.EDQUOT: "make room there, or name another place",
    errno.ENOENT: "name one that exists",
    errno.ENOTDIR: "a part of this path is a file; name another place",
    errno.EEXIST: "a file is where a folder is needed; name another place",
}


def write_atomically(path: str | os.PathLike[str], content: bytes | str) -> Path:
    """Write `content` to `path`, replacing what was there, so that no reader ever sees a part of it.

    Text is encoded as UTF-8. A missing parent folder is an error, not a folder made in silence.

    Raises:
        FileError: when the folder is missing or the file cannot be written; what was there stays as it was.
    """
    target = Path(os.path.realpath(path))
    data = content.encode() if isinstance(content, str) else content
    try:
        if _is_device(target):  # it has no content that could be half-written, and must stay what it is
            target.write_bytes(data)
            return target
    except OSError as error:
        raise FileError(refusal(error, target)) from error
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    except OSError as error:
        raise FileError(f"{target}: cannot write here ({error.strerror}); name a file in a folder that exists") from error
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        Path(temporary).chmod(_default_mode())
        Path(temporary).replace(target)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise FileError(f"{target}: cannot write ({error.strerror})") from error
        raise
    return target


def check_place(path: Path) -> None:
    """Refuse a place where no file can be written, before anything is measured for it.

    Raises:
        FileError: where it is a folder, or in one that does not exist, that may not be written, or that is full.
    """
    target = Path(os.path.realpath(path))
    try:
        if target.is_dir():
            raise FileError(f"{path}: is a folder; name a file in it")
        if not target.parent.is_dir():
            raise FileError(f"{path}: its folder does not exist; make it first, so that nothing is measured in vain")
        if not _is_device(target):
            with tempfile.TemporaryFile(dir=target.parent) as tried:
                tried.write(bytes(_TRIED_BYTES))
    except OSError as error:
        raise FileError(refusal(error, path)) from error


def check_folder(folder: Path) -> None:
    """Make a folder if need be, and refuse one where no file can be written.

    Raises:
        FileError: where it cannot be made, may not be written, or is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(refusal(error, folder)) from error
    check_place(folder / "file")


def refusal(error: OSError, path: str | os.PathLike[str] | None = None) -> str:
    """Return what the system refused in a line: the place, the reason, and what to do about it.

    >>> refusal(PermissionError(13, "Permission denied", "kept/x.json"))
    'kept/x.json: Permission denied; this user may not; change its rights, or name another place'
    """
    place = error.filename if path is None else path
    reason = error.strerror or str(error) or type(error).__name__
    if place is None:
        return f"the system refused something: {reason}"
    told = os.fsdecode(place) if isinstance(place, (str, bytes, os.PathLike)) else f"file {place}"
    return f"{told}: {reason}; {_ADVICE.get(error.errno or 0, 'name another place')}"


def print_to(stream: TextIO, text: str, end: str = "\n") -> None:
    """Print, also to a reader that leaves early, as `head` does; what it does not take goes nowhere.

    Raises:
        FileError: when it cannot be written for another reason, such as a full disk.
    """
    try:
        print(text, end=end, file=stream, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # what is left of it must not fail again when the process ends
        if not isinstance(error, BrokenPipeError):
            raise FileError(refusal(error, stream.name)) from error


def read_limited(path: str | os.PathLike[str], most_bytes: int) -> bytes:
    """Return what a file holds, of which not more than `most_bytes` are read.

    Raises:
        FileError: when it is missing, unreadable or larger.
    """
    try:
        with Path(path).open("rb") as stream:
            parts = [part for _ in range(most_bytes // _PART_BYTES + 1) if (part := stream.read(_PART_BYTES))]
    except FileNotFoundError as error:
        raise FileError(f"{path}: no such file") from error
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise FileError(f"{str(path)!r}: no name of a file ({error})") from error
    content = b"".join(parts)
    if len(content) > most_bytes:
        raise FileError(f"{path}: larger than {most_bytes:,} bytes, which is the most that is read of such a file")
    return content


def file_name(name: str) -> str:
    """Return a name that every file system takes for what is called so; what is changed or long gets a hash, so that no two are the same.

    >>> file_name("optimized-b8-h64"), file_name("t.py::test[a/b]")
    ('optimized-b8-h64', 't.py__test_a_b_-e87b41e4')
    """
    clean = "".join(char if char.isascii() and (char.isalnum() or char in "-_.") else "_" for char in name)
    if clean == name and len(name) <= _LONGEST:
        return name
    return f"{clean[-_LONGEST:]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _is_device(path: Path) -> bool:
    """Whether it is neither a file nor a folder, but a device or a pipe."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _default_mode() -> int:
    """Return the mode an ordinary `open` would give; `mkstemp` makes files that only the owner can read."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
