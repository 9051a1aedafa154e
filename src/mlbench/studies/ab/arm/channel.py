"""Messages between an arm and the process that started it: lines of JSON, about one test at a time.

Answers go to what was standard output, requests come from what was standard input; whatever the tests print goes to standard error. A
request names its test. A test may end by itself at any moment, also while it waits for a request, and what comes for it after that is for
nobody.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


class Channel:
    """Requests from the parent and answers to it; both survive pytest's capturing, and a signal handler that raises."""

    def __init__(self) -> None:
        self._requests = os.dup(0)
        self._answers = os.dup(1)
        self._received = b""
        os.dup2(2, 1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)

    def tell(self, **message: Any) -> None:
        """Send one message."""
        line = json.dumps(message).encode("utf-8") + b"\n"
        while line:
            line = line[os.write(self._answers, line) :]

    def listen(self) -> dict[str, Any]:
        """Return the next request; a parent that is gone ends this process."""
        while b"\n" not in self._received:
            found = os.read(self._requests, 1 << 16)
            if not found:
                os._exit(0)
            self._received += found
        line, _, self._received = self._received.partition(b"\n")
        request: dict[str, Any] = json.loads(line.decode("utf-8"))
        return request

    def listen_for(self, test: str, *wanted: str) -> dict[str, Any]:
        """Return the next request about this test that asks for one of these; others are for tests that have ended."""
        while True:
            request = self.listen()
            if request.get("test") == test and any(each in request for each in wanted):
                return request
