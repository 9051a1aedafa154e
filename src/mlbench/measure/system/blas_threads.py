"""How many threads BLAS may use in this process."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager

from mlbench.errors import MissingExtraError


def blas_threads(threads: int) -> AbstractContextManager[object]:
    """Return a context in which BLAS uses this many threads; it is as before afterwards.

    Raises:
        MissingExtraError: without threadpoolctl.
    """
    try:
        threadpoolctl = importlib.import_module("threadpoolctl")
    except ImportError as error:
        raise MissingExtraError("setting the threads of BLAS", "threadpoolctl") from error
    context: AbstractContextManager[object] = threadpoolctl.threadpool_limits(threads)
    return context
