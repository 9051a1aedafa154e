"""What a runner does where the system gives no memory that code may run in: NumPy's calls, and a warning.

A service that drops its rights asks for that (`prctl` with PR_SET_MDWE, a filter of system calls): the code that is there goes on running,
and there will be no more. A runner writes all its code when it is made, so one that was made before goes on as it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from mlbench.compiler.passes import codegen
from mlbench.compiler.pipeline import Pass
from mlbench.errors import CodeError, CodeWarning


def passes_without_code(passes: Sequence[Pass]) -> tuple[Pass, ...]:
    """Return the passes but for the one that generates code."""
    return tuple(each for each in passes if each.name != codegen.PASS.name)


def warn(error: CodeError, stack: int) -> None:
    """Warn whoever is so many frames up that a runner has no code."""
    warnings.warn(
        f"{error}; NumPy's calls run this runner, more slowly. Make runners before the process drops its rights, or leave out the "
        "optimisation codegen",
        CodeWarning,
        stacklevel=stack + 1,
    )
