"""The process of one arm, as its parent sees it: started, asked, and ended in time whatever it does."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlbench.errors import WorkerError
from mlbench.gate.revisions.outcomes import PRINTED
from mlbench.results.documents import shown
from mlbench.studies.ab.git import variables
from mlbench.units import visible

SCRIPT = Path(__file__).with_name("arm")
LOG_TAIL = 2000
END_S = 10.0
END_LOOK_S = 1.0
"""Time between two looks whether a process that says nothing is still there."""
_LACKS = {
    "unrecognized arguments": "where the option is a plugin's, its environment lacks the plugin",
    "No module named": "its environment lacks what the suite, or its settings, import",
}
"""What pytest prints when something is not installed, and what that means."""
_INSTALL = "add it with --install, or say it in [tool.mlbench.ab]"
START_S = 300.0
"""Time to import and collect the suite."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm: a checkout and the interpreter that runs it.

    Attributes:
        name: `base`, `control` (the base once more), or `head`.
        python: interpreter of its environment.
        home: folder of the project in its checkout, where pytest runs.
        packages: packages that must come from there, or from the environment that was made for it.
        path: folders that come first on the path of its modules; none where the checkout is installed in the environment.
        environment: folder of the environment that was made for it, or None.
        plants: test to a planted slowdown or allocation; for calibration alone.
    """

    name: str
    python: str
    home: Path
    packages: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    environment: Path | None = None
    plants: Mapping[str, Mapping[str, float]] | None = None


class ArmError(WorkerError):
    """The process of an arm died, hung, or could not collect its suite; `arm` is its name."""

    def __init__(self, arm: str, message: str) -> None:
        super().__init__(message)
        self.arm = arm


class ArmProcess:
    """A live process of an arm.

    Args:
        arm: what runs in it.
        arguments: for pytest.
        log: where its output goes; told in errors.
        more: environment variables that it gets besides those of `environment_of`.
        known: tests that are known to be benchmarks although they do not ask for the fixture by name; None to find out by running them.
    """

    def __init__(
        self, arm: Arm, arguments: Sequence[str], log: Path, more: Mapping[str, str] | None = None, known: Sequence[str] | None = None
    ) -> None:
        self.arm = arm
        self._log = log
        try:
            with log.open("wb") as output:
                self._process = subprocess.Popen(  # noqa: S603  # the project's own interpreter, and our script
                    [arm.python, str(SCRIPT)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=output,
                    text=True,
                    encoding="utf-8",
                    cwd=arm.home,
                    env={**environment_of(arm), **(more or {})},
                    start_new_session=True,
                )
        except OSError as error:
            raise ArmError(arm.name, f"{arm.python} cannot be started in {arm.home} ({error.strerror or error})") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests = self._process.stdin
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True).start()
        homes = [str(place) for place in (arm.home, arm.environment) if place is not None]
        self.tell(
            arguments=list(arguments),
            homes=homes,
            packages=list(arm.packages),
            plants=dict(arm.plants or {}),
            seed=int((more or {}).get("PYTHONHASHSEED", "0")),
            known=None if known is None else list(known),
        )

    def tell(self, **request: Any) -> None:  # whatever JSON holds
        """Send a request; that nobody is there to read it shows when the answer is awaited."""
        with contextlib.suppress(OSError):
            self._requests.write(json.dumps(request) + "\n")
            self._requests.flush()

    def answer(self, timeout_s: float, test: str | None = None) -> dict[str, Any]:
        """Return the next message; with a test, the next one about it.

        Raises:
            ArmError: when the process died or took too long; it is ended then.
        """
        while True:
            line = self._line(timeout_s)
            if not line.endswith("\n"):  # nothing more, or a message cut short
                raise ArmError(self.arm.name, f"the process died ({self._end()}){self._tail()}")
            message: dict[str, Any] = shown(json.loads(line))
            if "failed" in message:
                tail = self._tail()
                hint = next((f"; {meaning}: {_INSTALL}" for printed, meaning in _LACKS.items() if printed in tail), "")
                raise ArmError(self.arm.name, f"{message['failed']}{hint}{tail}")
            if test is None or message.get("test") == test:
                return message

    def _line(self, timeout_s: float) -> str:
        """Return the next line; an empty one where the process is gone, also if something that it started holds its channel open."""
        waits_until = time.monotonic() + timeout_s
        while True:
            is_gone = self._process.poll() is not None
            try:
                return self._answers.get(timeout=max(0.0, min(END_LOOK_S, waits_until - time.monotonic())))
            except queue.Empty:
                if is_gone:
                    return ""
                if time.monotonic() >= waits_until:
                    self.stop()
                    raise ArmError(self.arm.name, f"no answer within {timeout_s:g} s; the process was ended") from None

    def stop(self) -> None:
        """End the process and what it started; calling it again is harmless."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            self._requests.close()

    def _end(self) -> str:
        """Return how the process ended whose answers ended."""
        try:
            code = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.stop()
            return "it closed its channel, lived on, and was ended"
        return f"killed by signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def _tail(self) -> str:
        text = self._log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:].strip()
        return f"{PRINTED}\n{visible(text)}" if text else ""

    def _listen(self, stream: Any) -> None:  # a text stream
        for line in stream:
            self._answers.put(line)
        self._answers.put("")
        stream.close()


def environment_of(arm: Arm, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment variables of an arm: the user's but those of a git hook, with the checkout's folders first on the path.

    An environment that was made for the version has its packages in it, and the user's path would bring others.
    """
    environment = dict(variables() if base is None else base)
    if arm.environment is not None:
        environment.pop("PYTHONPATH", None)
    if arm.path:
        environment["PYTHONPATH"] = os.pathsep.join([*arm.path, *filter(None, [environment.get("PYTHONPATH")])])
    environment.pop("PYTHONSAFEPATH", None)  # an arm sets the path itself
    return environment
