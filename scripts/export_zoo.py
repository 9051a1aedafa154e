"""Write the networks of the zoo as ONNX files, as other runtimes are given them.

    python scripts/export_zoo.py zoo                       # a file for each network
    python -m mlbench peers zoo/policy.onnx --only onnxruntime,openvino

Development only; it needs the package `onnx`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mlbench.files import write_atomically
from mlbench.models.zoo import ZOO
from mlbench.studies.peers.zoo_files import zoo_bytes


def main(arguments: list[str] | None = None) -> int:
    """Write the files and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the files go; it is made if need be")
    folder = parser.parse_args(arguments).folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in ZOO:
        print(write_atomically(folder / f"{name}.onnx", zoo_bytes(name)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
