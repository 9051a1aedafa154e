"""Threads that share the rows of a call: each runs the whole chain on its own rows, in an arena of its own.

The threads are made once and wait on a lock, so that a call wakes them and makes nothing. BLAS is set to one thread while they work, or
every one of them would bring BLAS's own threads along; afterwards it is as before. That setting belongs to the whole process.

A `fork` copies no thread but the one that forks, so a runner with a crew refuses to run in a child process, and says so. What one of them
raises is raised in the calling thread, after all have stopped.
"""

from __future__ import annotations

import importlib
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from mlbench.errors import CrewError, MissingExtraError

Work = Callable[[], object]


class BlasThreads:
    """How many threads BLAS uses in this process, set for the time of a call.

    Args:
        threads: threads while a call runs.

    Raises:
        MissingExtraError: without threadpoolctl.
    """

    def __init__(self, threads: int) -> None:
        try:
            threadpoolctl = importlib.import_module("threadpoolctl")
        except ImportError as error:
            raise MissingExtraError("a runner of more than one thread", "threadpoolctl") from error
        self._libraries: list[Any] = list(threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers)
        self._threads = threads
        self._before: list[int] = []

    @property
    def are_set(self) -> bool:
        """Whether BLAS uses so many threads as it is, so that nothing needs to be set in a call."""
        return all(library.get_num_threads() == self._threads for library in self._libraries)

    def enter(self) -> None:
        """Set the threads, and remember what they were."""
        self._before = [library.get_num_threads() for library in self._libraries]
        for library, before in zip(self._libraries, self._before, strict=True):
            if before != self._threads:
                library.set_num_threads(self._threads)

    def leave(self) -> None:
        """Set them as they were."""
        for library, before in zip(self._libraries, self._before, strict=True):
            if before != self._threads:
                library.set_num_threads(before)


class _Post:
    """Where one thread waits for work and says that it is done."""

    def __init__(self) -> None:
        self.start, self.done = threading.Lock(), threading.Lock()
        self.start.acquire()
        self.done.acquire()
        self.work: Work | None = None
        self.error: BaseException | None = None

    def serve(self) -> None:
        """Work until there is none."""
        while True:
            self.start.acquire()
            work = self.work
            if work is None:
                return
            try:
                work()
            except BaseException as error:  # noqa: BLE001  # the outermost frame of this thread: whatever it was goes to the caller
                self.error = error
            self.work = work = None
            self.done.release()


class Crew:
    """The calling thread and some more, which run together.

    Args:
        threads: how many, the calling thread included.
        blas_threads: threads of BLAS while they run.
    """

    def __init__(self, threads: int, blas_threads: int) -> None:
        self._blas = BlasThreads(blas_threads)
        self._process = os.getpid()
        self._posts = [_Post() for _ in range(threads - 1)]
        for post in self._posts:
            threading.Thread(target=post.serve, name="mlbench-crew", daemon=True).start()
        weakref.finalize(self, _dismiss, self._posts)

    def run(self, works: Sequence[Work]) -> None:
        """Run one piece of work on each thread, the first on this one, and return when all are done.

        Raises:
            CrewError: in a forked process, where the threads do not exist.
            BaseException: what a piece of work raised.
        """
        if os.getpid() != self._process:
            raise CrewError("the threads of this runner did not survive the fork; make the runner in the process that uses it")
        hired = self._posts[: len(works) - 1]
        self._blas.enter()
        try:
            for post, work in zip(hired, works[1:], strict=True):
                post.work = work
                post.start.release()
            try:
                works[0]()
            finally:
                for post in hired:
                    post.done.acquire()
        finally:
            self._blas.leave()
        errors = [post.error for post in hired if post.error is not None]
        for post in hired:
            post.error = None
        if errors:
            raise errors[0]


def _dismiss(posts: Sequence[_Post]) -> None:
    """Let the threads end; in a forked child there are none to hear it."""
    for post in posts:
        post.work = None
        if post.start.locked():
            post.start.release()
