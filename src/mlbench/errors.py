"""Every error mlbench raises on purpose.

An error names where it happened, what was found, what was expected and what to do. All of them derive from
`MlbenchError`, so that the outermost frame of the command line can print one line and a caller can catch one class.
"""

from __future__ import annotations

from typing import Any


class MlbenchError(Exception):
    """Base of every error that mlbench raises on purpose.

    It travels between processes with its message and its attributes, whatever its constructor takes.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to make it again without its constructor, which an error of a worker process would otherwise fail in."""
        return _again, (type(self), self.args, vars(self))


def _again(kind: type[MlbenchError], arguments: tuple[object, ...], attributes: dict[str, object]) -> MlbenchError:
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    vars(error).update(attributes)
    return error


class UsageError(MlbenchError):
    """A command line or an option asks for something that does not exist or cannot be combined."""


class InputError(MlbenchError, ValueError):
    """An array given to a runner does not fit the model."""


class BusyError(MlbenchError, RuntimeError):
    """A runner was called while a call of it was under way, on another thread or further down on the same one."""


class CrewError(MlbenchError, RuntimeError):
    """The threads of a runner do not start, have ended, or belong to another process."""


class CodeError(MlbenchError, OSError):
    """The system gives no memory that generated code may run in."""

    def __str__(self) -> str:
        """Say so, and why."""
        return f"this system gives no memory that code may run in ({self.strerror})"


class CodeWarning(RuntimeWarning):
    """A runner uses NumPy's calls in place of generated code, because the system gives no memory that code may run in."""


class CopyError(MlbenchError, TypeError):
    """Something that is bound to this process and to its own memory was to be copied or sent to another process."""


class ModelError(MlbenchError, ValueError):
    """A model cannot be built from the sizes, arrays or names that were given."""


class FileError(MlbenchError, ValueError):
    """A file is missing, damaged, truncated, foreign or of an unknown version; nothing of it was used."""


class GraphError(MlbenchError, ValueError):
    """A graph breaks a law that `mlbench.ir.verify` knows."""


class PlanError(MlbenchError, ValueError):
    """A memory plan breaks a law that `mlbench.compiler.memory.check_plan` knows."""


class CountingError(MlbenchError, ValueError):
    """The instructions of some machine code cannot be counted, because its way cannot be followed."""


class WrongResultError(MlbenchError, AssertionError):
    """A runner's output is farther from the float64 reference than rounding can explain; it is never timed."""


class WorkerError(MlbenchError, RuntimeError):
    """A worker process died, hung, or could not do what it was asked."""


class MissingExtraError(MlbenchError, ImportError):
    """A feature needs an optional dependency that is not installed."""

    def __init__(self, feature: str, package: str, extra: str = "bench") -> None:
        super().__init__(
            f"{feature} needs {package}, which is not installed: install mlbench with the extra {extra!r}; "
            f"in a checkout: python -m pip install '.[{extra}]'"
        )
