"""A process that answers in lines of JSON: started, asked, and ended in time whatever it does."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from mlbench.errors import WorkerError

END_S = 10.0
"""Time to end for a process that has closed its channel."""
LOOK_S = 1.0
"""Time between two looks whether a process that says nothing still exists."""


class JsonProcess:
    """A process that reads requests from its standard input and writes answers to its standard output, each a line of JSON.

    Args:
        command: program and arguments.
        environment: its environment variables.
        folder: where it runs; None for the current folder.
        errors: where its standard error goes; None for that of this process.
        has_session: it gets a session of its own, which the terminal's Ctrl-C does not reach, and which ends with it.

    Raises:
        OSError: where it cannot be started.
        WorkerError: from `answer`, where the process died or took too long.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path | None = None,
        errors: IO[bytes] | None = None,
        *,
        has_session: bool = False,
    ) -> None:
        self._has_session = has_session
        self._process = subprocess.Popen(  # noqa: S603  # an interpreter and code of ours
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            cwd=folder,
            env=environment,
            start_new_session=has_session,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests: IO[str] = self._process.stdin
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def send(self, line: str) -> None:
        """Send a request. Where nobody is left to read it, `answer` says so."""
        with suppress(OSError):
            self._requests.write(line + "\n")
            self._requests.flush()

    def receive(self, timeout_s: float) -> Any:  # whatever JSON holds
        """Return the next answer.

        Raises:
            WorkerError: where the process died or took longer than `timeout_s`; it is ended then.
        """
        line = self._line(timeout_s)
        if not line.endswith("\n"):  # nothing more, or an answer cut short
            raise WorkerError(f"the process died ({self._end()})")
        return json.loads(line)

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def freeze(self) -> bool:
        """Stop the process until `thaw`, threads that spin included; False where the system cannot do that."""
        is_sent = self._signal("SIGSTOP")
        if is_sent and hasattr(os, "waitid"):  # the signal takes a moment
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        return is_sent

    def thaw(self) -> bool:
        """Let a frozen process go on."""
        return self._signal("SIGCONT")

    def stop(self) -> None:
        """End the process, and with a session what it started; calling it again is harmless."""
        if self._has_session and hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        with suppress(OSError):  # what was still to be sent to it has nowhere to go
            self._requests.close()

    def _signal(self, name: str) -> bool:
        number = getattr(signal, name, None)  # not on Windows
        if number is not None:
            self._process.send_signal(number)
        return number is not None

    def _line(self, timeout_s: float) -> str:
        """Return the next line; an empty one where the process is gone, also if something that it started holds its channel open."""
        waits_until = time.monotonic() + timeout_s
        while True:
            is_gone = not self.is_alive
            try:
                return self._answers.get(timeout=max(0.0, min(LOOK_S, waits_until - time.monotonic())))
            except queue.Empty:
                if is_gone:
                    return ""
                if time.monotonic() >= waits_until:
                    self.stop()
                    raise WorkerError(f"no answer within {timeout_s:g} s; the process was ended") from None

    def _end(self) -> str:
        """Return how the process ended whose answers ended."""
        try:
            code = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.stop()
            return "it closed its channel, lived on, and was ended"
        return f"killed by signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def _listen(self, stream: IO[str]) -> None:
        for line in stream:
            self._answers.put(line)
        self._answers.put("")
        stream.close()
