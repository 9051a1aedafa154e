"""Threads that share the rows of a call: each runs the whole chain on its own rows, in an arena of its own.

The threads are made once and wait on a lock, so that a call wakes them and makes nothing. BLAS is set to one thread while they work, or
every one of them would bring BLAS's own threads along; afterwards it is as before. That setting belongs to the whole process.

An exception such as Ctrl-C can arrive after any call that Python makes. So nothing depends on every step being reached: a thread counts the
jobs that it was given and those that it is done with, BLAS's former setting is kept until it is set again, and a call begins with settling
what the one before left behind. No call ends while a thread still works for it, so a result is never another call's.

A `fork` copies no thread but the one that forks, and a pool that is being collected lets its threads end, so a runner refuses to run then,
and says so. What one of them raises is raised in the calling thread, after all have stopped.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from mlbench.compiler.x86 import ENDED, FORKED, start_helper
from mlbench.errors import CrewError, MissingExtraError

Work = Callable[[], object]
WAIT_S = 0.1
"""A thread that does not answer for so long is looked after."""


class BlasThreads:
    """How many threads BLAS uses in this process, set for the time of a call or of a `with` block.

    Args:
        threads: threads meanwhile.

    Raises:
        MissingExtraError: without threadpoolctl.
    """

    def __init__(self, threads: int) -> None:
        try:
            threadpoolctl = importlib.import_module("threadpoolctl")
        except ImportError as error:
            raise MissingExtraError("setting the threads of BLAS", "threadpoolctl") from error
        self._libraries: list[Any] = list(threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers)
        self._threads = threads
        self._before: list[int] | None = None

    def __enter__(self) -> Self:
        self.enter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.leave()

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
        """Set them as they were, if they still have to be."""
        if self._before is None:
            return
        for library, before in zip(self._libraries, self._before, strict=True):
            if before != self._threads:
                library.set_num_threads(before)
        self._before = None


class _Post:
    """Where one thread gets work and says that it is done.

    Args:
        others: how many threads there are beside the calling one.

    Attributes:
        asked: jobs that it was given.
        finished: jobs that it is done with; it works while this is less. These two numbers say how things stand. The locks only wake:
            one that is released once too often, or was never waited for, changes nothing.
        error: what its last job raised.
        is_closed: it gets no more jobs.
        has_ended: the thread is no more. (`Thread.is_alive` is nothing to ask where exceptions may arrive: one in the middle of it has
            CPython 3.11 take a thread for dead.)
    """

    def __init__(self, others: int) -> None:
        self.asked = self.finished = 0
        self.error: BaseException | None = None
        self.is_closed = self.has_ended = False
        self._work: Work | None = None
        self._start, self._done = threading.Lock(), threading.Lock()
        self._start.acquire()
        self._done.acquire()
        self._others = others
        self._thread = threading.Thread(target=self._serve, name="mlbench-pool", daemon=True)

    def open(self, number: int) -> None:
        """Start the thread.

        Raises:
            CrewError: when the system has none.
        """
        start_helper(self._thread, number, self._others)

    def close(self) -> None:
        """Let the thread end; in a forked child there is none to hear it."""
        self.is_closed = True
        self._wake()

    def begin(self, work: Work) -> None:
        """Let the thread work."""
        self.error = None
        self._work = work
        self.asked += 1
        self._wake()

    @property
    def is_lost(self) -> bool:
        """Whether the thread will never be done."""
        return self.asked != self.finished and (sys.is_finalizing() or self.has_ended)

    def wait(self) -> None:
        """Wait until the thread is done, or a while; wake it once more then, in case an exception came before it was woken."""
        if self.asked != self.finished and not self._done.acquire(timeout=WAIT_S):
            self._wake()

    def _wake(self) -> None:
        if self._start.locked():
            self._start.release()

    def _serve(self) -> None:
        try:
            while not self.is_closed:
                self._start.acquire()
                if self.asked != self.finished:
                    self._work_once()
        finally:
            self.has_ended = True

    def _work_once(self) -> None:
        try:
            if self._work is not None:
                self._work()
        except BaseException as error:  # noqa: BLE001  # the outermost frame of this thread: whatever it was goes to the caller
            self.error = error
        self._work = None
        self.finished = self.asked
        if self._done.locked():
            self._done.release()


class ThreadPool:
    """The calling thread and some more, which run together.

    Args:
        threads: how many, the calling thread included.
        blas_threads: threads of BLAS while they run.

    Raises:
        CrewError: when they do not start.
    """

    def __init__(self, threads: int, blas_threads: int) -> None:
        self._blas = BlasThreads(blas_threads)
        self._process = os.getpid()
        self._posts = [_Post(threads - 1) for _ in range(threads - 1)]
        close = weakref.finalize(self, _close, self._posts)
        close.atexit = False  # calls may come until the very end, and daemons need no goodbye
        try:
            for number, post in enumerate(self._posts):
                post.open(number)
        except BaseException:
            close()
            raise

    def run(self, works: Sequence[Work]) -> None:
        """Run one piece of work on each thread, the first on this one, and return when all are done.

        Ctrl-C and other exceptions that arrive meanwhile come out of here, after all are done.

        Raises:
            CrewError: in a forked process, where the threads do not exist, and where they have ended.
            BaseException: what a piece of work raised.
        """
        self._check()
        hired = self._posts[: len(works) - 1]
        self._settle()  # what an exception at an unlucky place left behind
        try:
            self._blas.enter()
            for post, work in zip(hired, works[1:], strict=True):
                post.begin(work)
            works[0]()
        finally:
            try:
                self._settle()
            finally:
                self._settle()  # an exception broke off the first one; where none did there is nothing left to do
        errors = [post.error for post in hired if post.error is not None]
        for post in hired:
            post.error = None
        if errors:
            raise errors[0]

    def _check(self) -> None:
        if os.getpid() != self._process:
            raise CrewError(FORKED)
        if any(post.is_closed for post in self._posts) or sys.is_finalizing():
            raise CrewError(ENDED)

    def _settle(self) -> None:
        """Wait until every thread is done, keep exceptions that arrive meanwhile for afterwards, and set BLAS's threads as they were."""
        interrupt: BaseException | None = None
        for post in self._posts:
            while post.asked != post.finished and not post.is_lost:
                try:
                    post.wait()
                except BaseException as error:  # noqa: BLE001  # raised below
                    interrupt = error
        self._blas.leave()
        if interrupt is not None:
            raise interrupt
        if any(post.is_lost for post in self._posts):
            _close(self._posts)
            raise CrewError(ENDED)


def _close(posts: Sequence[_Post]) -> None:
    for post in posts:
        post.close()
