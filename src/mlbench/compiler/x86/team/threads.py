"""Threads that run a body together, and meet in machine code.

A thread of Python that waits for another one waits for the interpreter's lock as well, some microseconds each time. So the threads of a
team stay in machine code, where they need no lock: they watch a word in memory for some hundred microseconds, which a call changes, let
others run now and then, and sleep in the kernel (a futex) when nothing comes. The calling thread runs its own part and watches the words of
the others.

A thread that wakes on the core of the calling thread would wait for it, and be waited for, until the scheduler's next tick parts them. So
each thread looks where the calling thread runs, and leaves that core to it.

No wait here is endless. A thread that ended, or that a fork did not copy, does no part: the team is closed then, and a call of a closed
team returns at once. The calling thread asks the kernel now and then whether the one that it waits for
is still there, and closes the team if not; the others look whether it was closed.

What they share has a cache line each, so that nobody's writing disturbs another's watching. x86-64 lets no store overtake an earlier store
and no load an earlier load (SDM volume 3, section 9.2), so a plain store says that all before it is done; where a thread writes one word
and then reads another that decides whether somebody sleeps, it exchanges, which waits for the store.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from mlbench.arrays import aligned_bytes
from mlbench.compiler.x86.encoding.abi import STATE, restore, save
from mlbench.compiler.x86.encoding.assembler import R8, R9, R10, RAX, RCX, RDI, RDX, RSI, RSP, Assembler, Label, Mem
from mlbench.compiler.x86.encoding.executable import Code
from mlbench.compiler.x86.team.affinity import emit_core, emit_parting
from mlbench.compiler.x86.team.shared import at, cores_of, of, shared_by
from mlbench.errors import CrewError

LOOKS, PATIENCE = 4000, 5
"""Looks at a word before a thread lets others run, with their pauses some 100 us, and how often it does so before it sleeps. Whoever is
waited for may be waiting for this very core: without letting it run, a wait lasted until the scheduler's next tick, milliseconds. Where
there are fewer cores than threads, that is always so, and one look is enough. Elsewhere a thread that lets others run too early loses its
core for as long, to whatever is busy there: another process, or the threads of a BLAS, which spin for 0.1 s after a product. With 200 looks
a call of 4 us took 900 us on average beside one busy process, and with 4000 it takes 5 us (`scripts/busy_cores.py`, policy, Zen 3)."""
START_S, START_PAUSE_S, END_S = 30.0, 2e-5, 5.0
_FUTEX, _SCHED_YIELD, _GETTID, _TGKILL = 202, 24, 186, 234
_NO_SUCH_THREAD = -3
_WAIT_PRIVATE, _WAKE_PRIVATE = 128, 129
_ALL = 2**31 - 1
FORKED = "the threads of this runner did not survive the fork; make the runner in the process that uses it"
ENDED = "the threads of this runner have ended, because it is being collected, the interpreter ends, or one of them died; make a new runner"


class Team:
    """The calling thread and some more; they live as long as this object, or until the process ends.

    Args:
        threads: how many, the calling one included; 2 or more.

    Raises:
        CrewError: when they do not start.

    Attributes:
        threads: how many.
        looks: before a thread lets others run.
        lines: the bytes of what they share.
        shared: the same, by name.
        address: where that lies.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.lines = aligned_bytes(shared_by(threads).itemsize)
        self.shared = np.ndarray((), shared_by(threads), self.lines)
        self.looks = LOOKS if len(os.sched_getaffinity(0)) >= threads else 1
        self.address = self.lines.ctypes.data
        self.process = os.getpid()
        self._helpers: list[threading.Thread] = []
        self._close = weakref.finalize(self, _dismiss, self.shared, ctypes.CDLL(None))
        self._close.atexit = False  # calls may come until the very end, and daemons need no goodbye
        _teams.add(self)
        try:
            self._start()
        except BaseException:
            self._close()
            raise

    def _start(self) -> None:
        for member in range(1, self.threads):
            a = Assembler()
            emit_service(a, self, member)
            helper = threading.Thread(target=_serve, args=(Code(a.finish()), self.lines), name="mlbench-team", daemon=True)
            start_helper(helper, member - 1, self.threads - 1)
            self._helpers.append(helper)
        self._wait_for_threads()

    def _wait_for_threads(self) -> None:
        """Return when every thread is in machine code: before, it needs the interpreter's lock, which a caller may hold while it waits."""
        others = self.shared["lines"]["number"][1:]
        deadline = time.monotonic() + START_S
        while not others.all():
            if time.monotonic() > deadline:
                raise CrewError(f"the threads of this runner did not start within {START_S:g} s; is this machine overloaded?")
            time.sleep(START_PAUSE_S)

    def check(self) -> None:
        """Return if the threads are there; see that none of them still works, if not.

        Raises:
            CrewError: in a forked process, and where the team is closed.
        """
        if os.getpid() != self.process:
            raise CrewError(FORKED)
        if self.shared["stop"]:
            self._close()
            for helper in self._helpers:
                helper.join(END_S)
            raise CrewError(ENDED)


def _serve(code: Code, lines: npt.NDArray[np.uint8]) -> None:
    """Run a thread's service until it is dismissed; it holds what its code has the address of."""
    ctypes.CFUNCTYPE(None)(code.address)()
    del lines


def _dismiss(shared: npt.NDArray[np.void], libc: ctypes.CDLL) -> None:
    """Let the threads end; in a forked child, whose memory is its own, nobody hears it.

    The collector may call this anywhere, also where the dynamic linker is busy, so the library comes from before.
    """
    shared["stop"] = 1
    shared["job"] += 1
    libc.syscall(_FUTEX, ctypes.c_void_p(shared["job"].ctypes.data), _WAKE_PRIVATE, _ALL)


def start_helper(thread: threading.Thread, number: int, others: int) -> None:
    """Start a thread, of which `number` of `others` run already.

    Raises:
        CrewError: when the system has none.
    """
    try:
        thread.start()
    except RuntimeError as error:
        raise CrewError(
            f"the system started {number} of the {others} threads that this runner needs in addition to the calling one "
            f"({error}); allow this process more threads, or make the runner with fewer"
        ) from error


_teams: weakref.WeakSet[Team] = weakref.WeakSet()


def _close_all() -> None:
    """Close every team, in a forked child, which has none of their threads."""
    for team in list(_teams):
        team.shared["stop"] = 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_all)


def _emit_system_call(a: Assembler, number: int) -> None:
    """Ask the kernel; the arguments are in place."""
    a.mov_number(RAX, number)
    a.syscall()


@contextmanager
def _times(a: Assembler, count: int, number: int) -> Iterator[None]:
    """Put what is put inside as a loop that is run so often; it may jump away before."""
    again = Label()
    a.mov_number(count, number)
    a.put(again)
    yield
    a.sub_number(count, 1)
    a.jump_if("ne", again)


def emit_service(a: Assembler, team: Team, member: int) -> None:
    """Put what a thread does from its start to its end: wait for a job, run its part, wait again."""
    again, work, end = Label(), Label(), Label()
    save(a)
    a.mov_number(RAX, 0)
    a.store(Mem(RSP, STATE), RAX)
    _emit_system_call(a, _GETTID)
    a.mov_number(R8, team.address)
    a.store32(of(member, "number"), RAX)
    a.put(again)
    a.mov_number(R8, team.address)
    a.load(RDX, Mem(RSP, STATE))
    with _times(a, R10, PATIENCE):
        with _times(a, R9, team.looks):
            a.load32(RAX, at("job"))
            a.cmp32(RAX, RDX)
            a.jump_if("ne", work)
            a.pause()
        _emit_system_call(a, _SCHED_YIELD)
    _emit_sleep(a, member)
    a.jump(again)
    a.put(work)
    a.store(Mem(RSP, STATE), RAX)
    a.load32(RCX, at("stop"))
    a.cmp_number(RCX, 0)
    a.jump_if("ne", end)
    emit_parting(a, at("core"), cores_of(team.threads, member))
    a.load(RAX, of(member, "code"))
    a.call(RAX)
    emit_done(a, team.address, member)  # here and not in the part, whose code may be gone as soon as the caller knows
    a.jump(again)
    a.put(end)
    restore(a)


def _emit_sleep(a: Assembler, member: int) -> None:
    """Put how a thread sleeps until the job changes from what is in rdx; r8 has the address of what all share."""
    awake = Label()
    a.mov_number(RAX, 1)
    a.exchange32(RAX, of(member, "asleep"))
    a.load32(RAX, at("job"))
    a.cmp32(RAX, RDX)
    a.jump_if("ne", awake)
    a.mov(RDI, R8)
    a.mov_number(RSI, _WAIT_PRIVATE)
    a.mov_number(R10, 0)
    _emit_system_call(a, _FUTEX)
    a.put(awake)
    a.mov_number(RAX, 0)
    a.exchange32(RAX, of(member, "asleep"))


def emit_look(a: Assembler, lines: int, closed: Label) -> None:
    """Jump where the team is closed; takes rcx and r8."""
    a.mov_number(R8, lines)
    a.load32(RCX, at("stop"))
    a.cmp_number(RCX, 0)
    a.jump_if("ne", closed)


def emit_job(a: Assembler, lines: int, parts: dict[int, Label]) -> None:
    """Put what gives each other thread its part of a call; whatever that reads was stored before."""
    asleep, awake = Label(), Label()
    a.mov_number(R8, lines)
    for member, part in parts.items():
        a.lea_label(RAX, part)
        a.store(of(member, "code"), RAX)
    emit_core(a)
    a.store32(at("core"), RCX)
    a.load32(RAX, at("job"))
    a.add_number(RAX, 1)
    a.exchange32(RAX, at("job"))
    for member in parts:
        a.load32(RAX, of(member, "asleep"))
        a.cmp_number(RAX, 0)
        a.jump_if("ne", asleep)
    a.jump(awake)
    a.put(asleep)
    a.lea(RDI, at("job"))
    a.mov_number(RSI, _WAKE_PRIVATE)
    a.mov_number(RDX, _ALL)
    _emit_system_call(a, _FUTEX)
    a.put(awake)


def emit_done(a: Assembler, lines: int, member: int) -> None:
    """Say that this thread is done with its part, and leave in rdx the number of parts it has done."""
    a.mov_number(R8, lines)
    a.load32(RDX, of(member, "done"))
    a.add_number(RDX, 1)
    a.store32(of(member, "done"), RDX)


def emit_wait(a: Assembler, member: int, team: Team, closed: Label) -> None:
    """Wait until every other thread has done as many parts, after `emit_done`; jump where that will never be."""
    for other in range(team.threads):
        if other == member:
            continue
        again, done = Label(), Label()
        a.put(again)
        with _times(a, R9, team.looks):
            a.load32(RCX, of(other, "done"))
            a.sub32(RCX, RDX)
            a.jump_if("ns", done)
            a.pause()
        _emit_system_call(a, _SCHED_YIELD)
        if member:
            emit_look(a, team.address, closed)
        else:
            _emit_life(a, team, other, closed)
        a.jump(again)
        a.put(done)


def _emit_life(a: Assembler, team: Team, other: int, closed: Label) -> None:
    """Close the team and jump where a thread is no more (a signal that is none finds nobody); r8 has the address of the lines."""
    lives = Label()
    a.mov_number(RDI, team.process)
    a.load32(RSI, of(other, "number"))
    a.mov_number(RDX, 0)
    _emit_system_call(a, _TGKILL)
    a.load32(RDX, of(0, "done"))
    a.cmp_number(RAX, _NO_SUCH_THREAD)
    a.jump_if("ne", lives)
    a.mov_number(RAX, 1)
    a.store32(at("stop"), RAX)
    a.jump(closed)
    a.put(lives)
