"""An environment for each version: a virtual environment in the cache, built once for what the version depends on.

Its name holds a hash of the Python, of what is installed, and of the files that name dependencies; a version whose hash is known gets that
environment, into which the project alone is installed again where its files have changed.
"""

from __future__ import annotations

import contextlib
import filecmp
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

from mlbench.errors import UsageError
from mlbench.files import write_atomically
from mlbench.studies.ab.checkouts import Checkout
from mlbench.studies.ab.git import variables

DEFAULT_INSTALL = ("-e .",)
NEEDED = ("pytest", "pytest-benchmark")
DEPENDENCY_FILES = ("pyproject.toml", "setup.py", "setup.cfg", "*requirements*.txt", "requirements/*.txt", "constraints*.txt", "*.lock")
_MARK = "mlbench-installed.json"
_TAIL = 2000
_LIBRARIES = ("*.so", "*.so.*", "*.dylib", "*.pyd", "*.dll")


def environment_key(checkout: Checkout, install: Sequence[str]) -> str:
    """Return the hash of everything that decides what is installed beside the project itself."""
    digest = hashlib.sha256(json.dumps([sys.version, sys.executable, checkout.side, list(install)]).encode())
    for pattern in DEPENDENCY_FILES:
        for path in sorted(path for path in checkout.home.glob(pattern) if path.is_file()):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def environment_folder(python: str) -> Path:
    """Return the folder of the environment whose interpreter this is."""
    return Path(python).parents[1]


def prepare(checkout: Checkout, place: Path, install: Sequence[str], say: Callable[[str], None]) -> str:
    """Return the interpreter of an environment that has this version installed.

    Args:
        checkout: the version.
        place: folder of the cache.
        install: arguments of `pip install`, each a run of it in the checkout.
        say: told what takes long.

    Raises:
        UsageError: when something cannot be installed; half an environment is made anew the next time.
    """
    folder = place / f"env-{checkout.side}-{environment_key(checkout, install)}"
    python = str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    mark = folder / _MARK
    is_orphan = Path(python).is_symlink() and not Path(python).exists()  # the Python that it was made of is gone
    installed = None if is_orphan else _installed(mark)
    is_here = checkout.mark.exists() and checkout.mark.read_text(encoding="utf-8") == folder.name
    if installed == checkout.commit and is_here:
        return python
    checkout.mark.unlink(missing_ok=True)
    if installed is None:
        say(f"building the environment of {checkout.revision} ({'; '.join(install)})")
        shutil.rmtree(folder, ignore_errors=True)
        try:
            venv.create(folder, with_pip=True, symlinks=os.name != "nt")
        except (OSError, subprocess.CalledProcessError) as error:
            raise UsageError(f"no environment can be made in {folder} ({error}); this Python needs venv and ensurepip") from error
        _pip(python, checkout, "--upgrade", "pip")
    else:
        say(f"installing {checkout.revision} into its environment")
        mark.unlink()
    for arguments in install:
        _pip(python, checkout, *shlex.split(arguments))
    lacking = [name for name in NEEDED if not _has(python, name.replace("-", "_"))]
    if lacking:
        _pip(python, checkout, *lacking)
    write_atomically(checkout.mark, folder.name)
    write_atomically(mark, json.dumps(checkout.commit))
    return python


def share_libraries(pythons: Sequence[str]) -> int:
    """Let environments that hold the same native library hold one file; return how many became one.

    Two files lie on pages of their own in memory, and on which decides a few per cent of speed: in every set the same ones, so that no
    number of sets would remove it. Installing another version replaces such a file and does not write into it. A library that cannot be
    shared stays as it is.

    Args:
        pythons: interpreters of two environments that `prepare` made.
    """
    first, second = (environment_folder(python) for python in pythons)
    found = 0
    for pattern in _LIBRARIES:
        for file in sorted(first.rglob(pattern)):
            other = second / file.relative_to(first)
            with contextlib.suppress(OSError):
                if not file.samefile(other) and not file.is_symlink() and filecmp.cmp(file, other, shallow=False):
                    link = other.with_name(f"{other.name}.shared")
                    link.unlink(missing_ok=True)
                    link.hardlink_to(file)
                    link.replace(other)
                    found += 1
    return found


def _pip(python: str, checkout: Checkout, *arguments: str) -> None:
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    ran = subprocess.run(command, cwd=checkout.home, capture_output=True, text=True, check=False, env=_variables())  # noqa: S603  # pip
    if ran.returncode:
        raise UsageError(
            f"{checkout.revision}: pip install {shlex.join(arguments)} failed in its checkout; say what to install with --install:\n"
            f"{(ran.stderr or ran.stdout).strip()[-_TAIL:]}"
        )


def _has(python: str, module: str) -> bool:
    ran = subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False, env=_variables())  # noqa: S603  # Python
    return ran.returncode == 0


def _variables() -> dict[str, str]:
    """Return the environment variables without PYTHONPATH, whose modules would count as installed, and without those of a hook."""
    return {name: value for name, value in variables().items() if name != "PYTHONPATH"}


def _installed(mark: Path) -> object:
    """Return which version an environment has; None where there is none, or half of one that must be made anew."""
    try:
        return json.loads(mark.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
