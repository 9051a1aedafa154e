"""Which tests are benchmarks: those that ask for the fixture by name, and those that may come to it on the way.

A test that asks for `benchmark`, itself or by a fixture that names it, says so when it is collected. One that takes it from
`request.getfixturevalue` does not, and only a run of it can tell. Such tests are few: a fixture of theirs takes `request`, and the project
says `getfixturevalue` somewhere.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

NAME = "benchmark"
BY_NAME = "getfixturevalue"


class Reach:
    """What the collected tests have to do with `benchmark`.

    Args:
        items: of pytest.
        homes: folders of the project.

    Attributes:
        surely: ids of tests that ask for it.
        perhaps: ids of tests that may come to it.
        marked: ids of tests that have its mark and do not ask for it.
    """

    def __init__(self, items: Iterable[Any], homes: Sequence[str]) -> None:
        self._homes = tuple(os.path.realpath(home) + os.sep for home in homes)
        self._texts: dict[str, bool] = {}
        self.surely: list[str] = []
        self.perhaps: list[str] = []
        self.marked: list[str] = []
        self._project_asks = any(self._asks(file) for file in self._project_files())
        for item in items:
            if NAME in getattr(item, "fixturenames", ()):
                self.surely.append(item.nodeid)
                continue
            if item.get_closest_marker(NAME) is not None:
                self.marked.append(item.nodeid)
            if any(self._leads_on(file) for file in _takers(item)):
                self.perhaps.append(item.nodeid)

    def _leads_on(self, file: str) -> bool:
        """Whether what takes `request` in this file may ask for a fixture by its name, or hand it on to what does."""
        return self._asks(file) or (self._project_asks and os.path.realpath(file).startswith(self._homes))

    def _project_files(self) -> list[str]:
        files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
        return [file for file in files if file and file.endswith(".py") and os.path.realpath(file).startswith(self._homes)
                and "site-packages" not in file]  # fmt: skip

    def _asks(self, file: str) -> bool:
        if file not in self._texts:
            try:
                with open(file, encoding="utf-8", errors="replace") as text:
                    self._texts[file] = BY_NAME in text.read()
            except OSError:  # code that lies in no file
                self._texts[file] = False
        return self._texts[file]


def _takers(item: Any) -> list[str]:
    """Return the files of everything that takes `request` for a test: the test, and its fixtures."""
    known = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    functions = [made.func for name in getattr(item, "fixturenames", ()) for made in known.get(name, ()) if "request" in made.argnames]
    if "request" in getattr(getattr(item, "_fixtureinfo", None), "argnames", ()):
        functions.append(item.obj)
    return [code.co_filename for code in (getattr(getattr(each, "__func__", each), "__code__", None) for each in functions) if code]
