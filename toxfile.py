"""What tox does besides: it finds interpreters that are installed and not global, and says at the end which ones ran what.

tox looks for `python3.12` in PATH. pyenv, mise and asdf have shims there, which work for the versions that are made global; the others lie
in a folder each, and are proposed here. The interpreter that runs tox stands first, so that `base_python = python3` stays itself.
"""

from __future__ import annotations

import atexit
import os
import re
import sys
from pathlib import Path

from tox.config.sets import ConfigSet
from tox.plugin import impl
from tox.session.state import State
from tox.tox_env.errors import Skip
from tox.tox_env.python.api import NoInterpreter, Python

FOLDERS = (
    ("PYENV_ROOT", "~/.pyenv", "versions"),
    ("MISE_DATA_DIR", "~/.local/share/mise", "installs/python"),
    ("ASDF_DATA_DIR", "~/.asdf", "installs/python"),
)
"""Where version managers keep interpreters: a variable that names their folder, its default, and what is below."""
RUNS = ("run", "r", "run-parallel", "p", "legacy", "le")


def installed() -> list[str]:
    """Return the CPythons 3 of all version managers, the newest first."""
    found: list[tuple[tuple[int, ...], str]] = []
    for variable, default, below in FOLDERS:
        for folder in (Path(os.environ.get(variable) or default).expanduser() / below).glob("3.*"):
            python = folder / "bin" / "python"
            if re.fullmatch(r"[\d.]+", folder.name) and python.exists():
                found.append((tuple(int(part) for part in folder.name.split(".")), str(python)))
    return [python for _, python in sorted(found, reverse=True)]


@impl
def tox_add_core_config(core_conf: ConfigSet, state: State) -> None:
    """Propose what is installed, and tell at the end what came of it."""
    options = state.conf.options
    options.discover = [*options.discover, getattr(sys, "_base_executable", sys.executable), *installed()]
    if options.command in RUNS:
        atexit.register(tell, state)


def tell(state: State) -> None:
    """Print which interpreter had which environments, and which environments had none."""
    used: dict[str, list[str]] = {}
    for name in state.envs.iter():
        environment = state.envs[name]
        assert isinstance(environment, Python)
        try:
            python = environment.base_python
            line = f"Python {'.'.join(map(str, python.version_info[:3]))} ({python.extra['executable']}) ran"
        except (Skip, NoInterpreter):
            line = "no interpreter in PATH, nor of pyenv, mise, asdf or uv, SKIPPED:"
        used.setdefault(line, []).append(name)
    for line, names in used.items():
        print(f"  {line} {', '.join(names)}")
