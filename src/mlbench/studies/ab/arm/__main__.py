"""The start of an arm: `python .../mlbench/ab/arm`, in whatever environment.

The package is loaded from this folder under a name of its own, and this folder leaves the path before anything of the project is imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys

NAME = "mlbench_arm"


def main() -> int:
    """Load the package, and run the suite as the first request says."""
    folder = os.path.dirname(os.path.abspath(__file__))
    spec = importlib.util.spec_from_file_location(NAME, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder])
    assert spec is not None
    assert spec.loader is not None
    sys.modules[NAME] = package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    sys.path[0] = os.getcwd()  # as `python -m pytest` has it
    code: int = importlib.import_module(NAME + ".start").run()
    return code


if __name__ == "__main__":
    # not the interpreter's own end: threads of the project that do not end would keep this process
    os._exit(main())
