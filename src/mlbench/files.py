"""Files are written whole or not at all, and read up to a size that is known before.

A reader never meets half a file: the text goes to a temporary file in the same folder, which then takes the name in one
step (`os.replace` is atomic on POSIX and Windows when both names are on one file system).
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from mlbench.errors import FileError

_LONGEST = 120
_PART_BYTES = 1 << 20
"""What is read at a time: a read makes room for all it is asked for, however little comes."""


def write_atomically(path: str | os.PathLike[str], content: bytes | str) -> Path:
    """Write `content` to `path`, replacing what was there, so that no reader ever sees a part of it.

    Text is encoded as UTF-8. A missing parent folder is an error, not a folder made in silence.

    Raises:
        FileError: when the folder is missing or the file cannot be written; what was there stays as it was.
    """
    target = Path(path).resolve()
    data = content.encode() if isinstance(content, str) else content
    if target.exists() and not target.is_file() and not target.is_dir():
        target.write_bytes(data)  # a device or a pipe has no content that could be half-written, and must stay what it is
        return target
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


def _default_mode() -> int:
    """Return the mode an ordinary `open` would give; `mkstemp` makes files that only the owner can read."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
