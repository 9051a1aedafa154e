"""What is remembered between processes: small JSON files, one a key, in a folder of the user's.

A cache is never needed for a right answer. So a damaged or foreign file is ignored with a warning and written anew, and a folder that
cannot be written costs the time of finding out again, with a warning that says how to name another.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from mlbench.errors import FileError
from mlbench.files import read_limited, write_atomically

MOST_BYTES = 1 << 20
"""Of a file; what is remembered has some hundreds."""
VARIABLE = "MLBENCH_CACHE"
"""Environment variable that names the folder."""


class CacheWarning(UserWarning):
    """Something remembered could not be read or kept; it is found out again."""


def cache_folder() -> Path:
    """Return where things are remembered: $MLBENCH_CACHE, or the system's place for caches.

    Raises:
        FileError: where neither is known, as of a user without a home.
    """
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE])
    system = {"win32": ("LOCALAPPDATA", "AppData/Local"), "darwin": ("", "Library/Caches")}
    name, usual = system.get(sys.platform, ("XDG_CACHE_HOME", ".cache"))
    given = os.environ.get(name, "")
    if Path(given).is_absolute():  # one that is not counts as none, says the XDG specification
        return Path(given) / "mlbench"
    try:
        return Path.home() / usual / "mlbench"
    except RuntimeError as error:
        raise FileError(f"this user has no home folder that things could be kept in; ${VARIABLE} names a folder") from error


def advice(text: str, error: BaseException) -> str:
    """Return what a message about a place in the cache has to add: the variable that names another one.

    Args:
        text: the message.
        error: what it is about; nothing is added where the system refused nothing.
    """
    cause = error if isinstance(error, OSError) else error.__cause__
    if not isinstance(cause, OSError) or VARIABLE in text:
        return ""
    try:
        folder = cache_folder()
    except FileError:
        return ""
    return f"; ${VARIABLE} names another folder for what is kept" if str(folder) in text or str(folder.resolve()) in text else ""


def recall(kind: str, key: dict[str, Any]) -> Any:  # whatever was remembered, or None
    """Return what was remembered under this key, or None.

    Warns:
        CacheWarning: where there is a file that cannot be used.
    """
    try:
        path = _path(kind, key)
    except FileError as error:
        warnings.warn(f"nothing is remembered: {error}", CacheWarning, stacklevel=2)
        return None
    try:
        if not path.exists():
            return None
        found = json.loads(read_limited(path, MOST_BYTES).decode("utf-8"), parse_constant=_no_number)
    except (OSError, ValueError, RecursionError) as error:
        return _ignored(path, f"cannot be read ({error})")
    if not isinstance(found, dict) or found.get("kind") != kind or found.get("key") != key or "value" not in found:
        return _ignored(path, "is not what mlbench wrote for this key")
    return found["value"]


def remember(kind: str, key: dict[str, Any], value: object) -> None:
    """Remember JSON data under this key, for the processes to come.

    Warns:
        CacheWarning: where it cannot be written.
    """
    try:
        path = _path(kind, key)
    except FileError:
        return  # of which the question for it has warned
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"kind": kind, "key": key, "value": value}, indent=1) + "\n")
    except (OSError, FileError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        warnings.warn(f"cannot remember anything in {path.parent} ({reason}); ${VARIABLE} names another folder", CacheWarning, stacklevel=2)


def _path(kind: str, key: dict[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return cache_folder() / f"{kind}-{digest[:24]}.json"


def _ignored(path: Path, why: str) -> None:
    warnings.warn(f"{path} {why}; it is ignored and written anew", CacheWarning, stacklevel=3)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no finite number")
