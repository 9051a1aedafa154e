"""The process of one arm, as its parent sees it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlbench.errors import WorkerError
from mlbench.gate.revisions.outcomes import PRINTED
from mlbench.measure.process import JsonProcess
from mlbench.results.storage import shown
from mlbench.studies.ab.git import variables
from mlbench.units import visible

SCRIPT = Path(__file__).with_name("arm")
LOG_TAIL = 2000
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


class ArmProcess(JsonProcess):
    """A live process of an arm.

    Args:
        arm: what runs in it.
        arguments: for pytest.
        log: where its output goes; shown in errors.
        more: environment variables that it gets besides those of `environment_of`.
        known: tests that are known to be benchmarks although they do not ask for the fixture by name; None to find out by running them.

    Raises:
        ArmError: where it cannot be started.
    """

    def __init__(
        self, arm: Arm, arguments: Sequence[str], log: Path, more: Mapping[str, str] | None = None, known: Sequence[str] | None = None
    ) -> None:
        self.arm = arm
        self._log = log
        try:
            with log.open("wb") as output:
                super().__init__([arm.python, str(SCRIPT)], {**environment_of(arm), **(more or {})}, arm.home, output, has_session=True)
        except OSError as error:
            raise ArmError(arm.name, f"{arm.python} cannot be started in {arm.home} ({error.strerror or error})") from error
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
        """Send a request."""
        self.send(json.dumps(request))

    def answer(self, timeout_s: float, test: str | None = None) -> dict[str, Any]:
        """Return the next message; with a test, the next one about it.

        Raises:
            ArmError: when the process died or took too long; it is ended then.
        """
        while True:
            try:
                message: dict[str, Any] = shown(self.receive(timeout_s))
            except WorkerError as error:
                raise ArmError(self.arm.name, f"{error}{self._tail()}") from None
            if "failed" in message:
                tail = self._tail()
                hint = next((f"; {meaning}: {_INSTALL}" for printed, meaning in _LACKS.items() if printed in tail), "")
                raise ArmError(self.arm.name, f"{message['failed']}{hint}{tail}")
            if test is None or message.get("test") == test:
                return message

    def _tail(self) -> str:
        text = self._log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:].strip()
        return f"{PRINTED}\n{visible(text)}" if text else ""


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
