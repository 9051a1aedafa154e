"""What the processes of a run make once: five sets of them compile a cell once, and each loads it anew.

What a compiler makes depends on its input and its version alone, so it may outlive the run. What a search with a clock finds ends with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlbench.files import write_atomically


@dataclass(frozen=True, slots=True)
class Folders:
    """Where things are kept; nothing is where a name is empty.

    Attributes:
        run: ends with the run.
        builds: for what compilers make; it may be there for the next run as well.
    """

    run: str = ""
    builds: str = ""


NO_FOLDERS = Folders()
_used = [NO_FOLDERS]


def use_folders(folders: Folders) -> None:
    """Keep things in these folders from now on."""
    _used[:] = [folders]


def builds_folder(name: str) -> Path | None:
    """Return a folder inside the one of builds, for a compiler that keeps what it makes itself; None where nothing is kept."""
    return Path(_used[0].builds) / name if _used[0].builds else None


def compiled_once(kind: str, key: bytes, make: Callable[[], bytes]) -> bytes:
    """Return what `make` makes of something, or has made of it in an earlier process.

    Args:
        kind: of the compiler, with everything that decides what it makes but the key.
        key: content of what is compiled.
        make: compiles it.
    """
    return _once(_used[0].builds, kind, key, make)


def found_once(kind: str, key: bytes, make: Callable[[], bytes]) -> bytes:
    """Do the same for what a search finds, which ends with the run."""
    return _once(_used[0].run, kind, key, make)


def _once(folder: str, kind: str, key: bytes, make: Callable[[], bytes]) -> bytes:
    if not folder:
        return make()
    path = Path(folder) / hashlib.sha256(kind.encode() + b"\0" + key).hexdigest()
    if path.exists():
        return path.read_bytes()
    made = make()
    write_atomically(path, made)
    return made
