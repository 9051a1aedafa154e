"""Every example on these pages runs as a test; `pytest docs` runs them all.

- Python blocks run in order, and output after `>>>` is compared. A block with a caption is a file: it is written to the folder of its page.
- A console block with output is run in that folder, and the words of its output are compared; numbers and what `...` stands for are not.
- Of other console blocks the commands and their options must exist.
- A block of TOML can be read; tolerances are read as the gate reads them.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib
import importlib.util
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.myst import CodeBlockParser, PythonCodeBlockParser, SkipParser

from mlbench import OptimizedRunner, mlp
from mlbench.cli import command_parser
from mlbench.gate import load_tolerances

ROOT = Path(__file__).resolve().parents[1]
QUICK = "-p no:cacheprovider -p no:randomly --benchmark-max-time=0.01 --benchmark-min-rounds=2"
OTHERS = frozenset({"", ".", "cd", "export", "for", "git", "pip", "taskset", "venv"})
"""Programs that are not ours, whose arguments nobody checks."""
_PYTHON = PythonEvaluator()


def begin(namespace: dict[str, Any]) -> None:
    """Give a page a folder, where its files lie and its commands run, and the facts that some examples ask for."""
    namespace["generates"] = OptimizedRunner(mlp(), 1).compiled.program.is_generated
    namespace["has_scikit_learn"] = importlib.util.find_spec("sklearn") is not None
    namespace["folder"] = Path(tempfile.mkdtemp(prefix="docs-"))


def end(namespace: dict[str, Any]) -> None:
    """Remove the folder of a page."""
    shutil.rmtree(namespace["folder"], ignore_errors=True)


def is_file(example: Example) -> bool:
    """Write a block with a caption to the file that it names; return False for every other block."""
    name = example.region.lexemes.get("options", {}).get("caption")
    if name is None:
        return False
    path = example.namespace["folder"] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(example.parsed), encoding="utf-8")
    return True


def python(example: Example) -> None:
    """Run a block that is no file."""
    if not is_file(example):
        _PYTHON(example)


def toml(example: Example) -> None:
    """Read a block of TOML, tolerances as the gate reads them."""
    is_file(example)
    if tomllib.loads(example.parsed).get("kind") == "mlbench-tolerances":
        path = example.namespace["folder"] / "shown.toml"
        path.write_text(example.parsed, encoding="utf-8")
        found = load_tolerances(path)
        assert found.tolerances or found.accepted


def console(example: Example) -> str | None:
    """Run the commands of a block that shows output; of every block, check that its commands can be typed."""
    parts = re.split(r"^\$ ", example.parsed.replace("\\\n", " "), flags=re.MULTILINE)
    problems, place = [], example.namespace["folder"]
    for part in parts[1:]:
        line, _, shown = part.partition("\n")
        problems += [found for words in commands(line) if (found := problem(words, place))]
        if not problems and shown.strip() and sys.platform != "win32":  # the commands are those of a POSIX shell
            problems += run(line, shown, place)
    return "\n".join(problems) or None


def commands(line: str) -> Iterator[list[str]]:
    """Split a line of a shell into its commands, each into its words."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if not set(word) <= set("&|;"):
            words.append(word)
        elif words:
            yield words[1:] if words[0] in {"do", "done"} else words
            words = []


def problem(words: list[str], place: Path) -> str | None:
    """Return why a command cannot be typed, or None."""
    words = words[2:] if words[:2] == ["python", "-m"] else words
    program, arguments = words[0] if words else "", words[1:]
    if program == "mlbench":
        return unparsed(arguments)
    if program == "pytest":
        return unknown(arguments, options_of_pytest())
    if program == "python":
        return unknown(
            arguments[1:], next(each for each in (place, ROOT) if (each / arguments[0]).exists()).joinpath(arguments[0]).read_text("utf-8")
        )
    if program == "tox":
        return unknown(
            [f"[testenv:{name}]" for name in arguments[2:] if not name.startswith("-")], (ROOT / "tox.ini").read_text(encoding="utf-8")
        )
    return None if program in OTHERS else f"nobody knows the program {program!r}"


def unparsed(arguments: list[str]) -> str | None:
    """Return what the command line says about arguments that it refuses."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            command_parser().parse_args(own)
        except SystemExit as end:
            return said.getvalue() if end.code else None
    return None


def options_of_pytest() -> str:
    """Return the names of the options of pytest-benchmark, of our plugin, and of the sweep."""
    parser = pytest.Parser(_ispytest=True)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for name in ("pytest_benchmark.plugin", settings["project"]["entry-points"]["pytest11"]["mlbench"]):
        importlib.import_module(name).pytest_addoption(parser)
    listed = [name for group in parser._groups for option in group.options for name in option.names()]
    return " ".join([*listed, *re.findall(r"--mlbench-[a-z-]+", (ROOT / "conftest.py").read_text(encoding="utf-8"))])


def unknown(arguments: list[str], known: str) -> str | None:
    """Return the options that do not stand in a text, in words."""
    names = [word.partition("=")[0] for word in arguments if word.startswith(("--", "["))]
    missing = [name for name in names if name not in known]
    return f"nobody knows {', '.join(missing)}" if missing else None


def run(line: str, shown: str, place: Path) -> list[str]:
    """Run a line in a shell and compare the words of what it prints."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    python_path = os.pathsep.join([str(place), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": python_path, "PYTEST_ADDOPTS": QUICK, "COLUMNS": "200", "NO_COLOR": "1"}
    environment["MLBENCH_CACHE"] = str(place / "cache")
    for name in ("GITHUB_STEP_SUMMARY", "PYTEST_XDIST_WORKER"):  # they change what is printed, and what pytest-benchmark measures
        environment.pop(name, None)
    line = re.sub(r"^mlbench ", "python -m mlbench ", line)
    done = subprocess.run(
        line, shell=True, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=300
    )
    expected, found = (" ".join(words(each) for each in text.splitlines()) for text in (shown, done.stdout))
    pieces = [re.escape(" ".join(piece.split())) for piece in expected.split("...")]
    if re.search(r"\s*" + r".*?".join(pieces), " ".join(found.split())):
        return []
    return [f"$ {line}\nprinted\n{done.stdout}\nwithout its numbers that is\n{found}\nand not\n{expected}"]


def words(line: str) -> str:
    """Return a line without its numbers, units and rules."""
    line = re.sub(r"(?<![A-Za-z_])[+-]?\d[\d,._;]*(?: ?(?:ns|us|ms|s|B|KB|MB|x)\b)?|\b[num]?s\b|\b[KM]ops/s|%", "", line)
    return re.sub(r"[─=|-]{2,}|[\[\]]|(?<!\S)-(?!\S)", "", line)


_EXAMPLES = PythonCodeBlockParser(doctest_optionflags=doctest.ELLIPSIS)
_EXAMPLES.codeblock_parser = CodeBlockParser("python", python)

pytest_collect_file = Sybil(
    parsers=[SkipParser(), _EXAMPLES, CodeBlockParser("console", console), CodeBlockParser("toml", toml)],
    setup=begin,
    teardown=end,
    pattern="*.md",
    excludes=["reference/generated/*", "_build/*"],
).pytest()
