"""The pages of the reference that are made from the code: commands, options of pytest, the API, passes, file formats.

Before Sphinx reads its sources, each part is written as Markdown into `docs/reference/generated/`, which the pages of the reference
include. Everything comes from public objects (the parser, the plugin, `mlbench.__all__`, the passes of a runner, the schemas), so that
a file may move without a change here.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import re
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sphinx.application import Sphinx

import mlbench
from mlbench.cli import command_parser
from mlbench.gate.tolerances import TOLERANCES_FILE
from mlbench.report.machine_readable import VERDICTS_FILE
from mlbench.results import RESULT_FILE
from mlbench.results.ablation import ABLATION_FILE
from mlbench.results.comparison import COMPARISON_FILE
from mlbench.results.explanation import EXPLANATION_FILE
from mlbench.results.peers import PEERS_FILE
from mlbench.results.roofline import ROOFLINE_FILE
from mlbench.results.schema import Schema, json_schema

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ROOT / "docs" / "reference" / "generated"
FILES: tuple[Schema[Any], ...] = (
    RESULT_FILE, ABLATION_FILE, EXPLANATION_FILE, ROOFLINE_FILE, PEERS_FILE, COMPARISON_FILE, VERDICTS_FILE,
    TOLERANCES_FILE,
)  # fmt: skip


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the writing of all parts."""
    app.connect("builder-inited", write_all)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_all(_: Sphinx) -> None:
    """Write every part; a part that is as it was keeps its date, so that an incremental build stays one."""
    GENERATED.mkdir(exist_ok=True)
    parts: dict[str, Callable[[], Iterator[str]]] = {
        "commands": commands,
        "pytest-options": pytest_options,
        "fixture": fixture,
        "api": api,
        "errors": errors,
        "passes": passes,
        "formats": formats,
    }
    for name, part in parts.items():
        path, text = GENERATED / f"{name}.md", "\n".join(part()) + "\n"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for file in FILES:
        (GENERATED / f"{file.kind}.json").write_text(json.dumps(json_schema(file), indent=1) + "\n", encoding="utf-8")


# commands


def commands() -> Iterator[str]:
    """Every command: what it is for, its usage, its arguments and options."""
    os.environ |= {"COLUMNS": "100", "NO_COLOR": "1"}  # argparse wraps and colours by the terminal
    yield from _command(command_parser(), "")


def _command(parser: argparse.ArgumentParser, summary: str) -> Iterator[str]:
    verbs = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if summary or not verbs:
        yield from ["", f"({parser.prog.replace(' ', '-')})=", f"## {parser.prog}", "", _sentence(parser.description or summary), ""]
        yield from [
            "```text",
            parser.format_usage().removeprefix("usage: ").rstrip(),
            "```",
            "",
            f"```{{program}} {parser.prog}",
            "```",
            "",
        ]
        yield from _options(parser)
        if parser.epilog:
            yield from ["```text", textwrap.dedent(parser.epilog).strip(), "```", ""]
    for verb in verbs:
        helps = {choice.dest: choice.help or "" for choice in verb._choices_actions}
        for name, each in verb.choices.items():
            yield from _command(each, helps.get(name, name))


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    formatter = parser._get_formatter()
    for action in parser._actions:
        if isinstance(action, (argparse._HelpAction, argparse._SubParsersAction)):
            continue
        shown = formatter._format_args(action, action.dest.upper()) if action.nargs != 0 else ""
        name = f"{', '.join(action.option_strings)} {shown}".strip()
        yield from _option(name, formatter._expand_help(action) if action.help else "")


def _option(name: str, text: str) -> Iterator[str]:
    yield from [f"```{{option}} {name}", _sentence(text), "```", ""]


def _sentence(text: str) -> str:
    """Return help text as a sentence of Markdown."""
    text = " ".join(text.split())
    text = re.sub(r"([*_<>|])", r"\\\1", text)
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".") if text else ""


# pytest


def plugin() -> Any:
    """Return the module of the pytest plugin, as the package registers it."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return importlib.import_module(settings["project"]["entry-points"]["pytest11"]["mlbench"])


def pytest_options() -> Iterator[str]:
    """The options of the plugin."""
    parser = pytest.Parser(_ispytest=True)
    plugin().pytest_addoption(parser)
    yield from ["```{program} pytest", "```", ""]
    for group in parser._groups:
        for option in group.options:
            attributes = option.attrs()
            metavar = attributes.get("metavar") or ("|".join(attributes["choices"]) if attributes.get("choices") else "")
            shown = f"[={metavar}]" if attributes.get("nargs") == "?" else f" {metavar}" if metavar else ""
            yield from _option(f"{', '.join(option.names())}{shown}", attributes.get("help", ""))


def fixture() -> Iterator[str]:
    """What the fixture is, as the class that a test is given."""
    yield from [
        "```{eval-rst}",
        f".. autoclass:: {plugin().__name__}.MlbenchFixture()",
        "   :members:",
        "   :special-members: __call__",
        "```",
    ]


# Python


def api() -> Iterator[str]:
    """Every public name of the package, in the order of its `__all__`."""
    for name in sorted(mlbench.__all__, key=str.lower):
        value = getattr(mlbench, name)
        if isinstance(value, str) or (inspect.isclass(value) and issubclass(value, Exception)):
            continue
        kind = "autoclass" if inspect.isclass(value) else "autofunction"
        yield from ["```{eval-rst}", f".. {kind}:: mlbench.{name}", *(["   :members:"] if kind == "autoclass" else []), "```", ""]


def errors() -> Iterator[str]:
    """Every error and warning that mlbench raises on purpose."""
    module = importlib.import_module(mlbench.MlbenchError.__module__)
    for name, value in vars(module).items():
        if inspect.isclass(value) and value.__module__ == module.__name__:
            bases = ", ".join(f"`{base.__name__}`" for base in value.__bases__)
            yield from [f"`{name}` ({bases})", f": {_first_paragraph(value)}", ""]


def _first_paragraph(value: object) -> str:
    return " ".join((inspect.getdoc(value) or "").partition("\n\n")[0].split())


def passes() -> Iterator[str]:
    """Every pass in the order in which they run, with the docstring of its module."""
    found = mlbench.OptimizedRunner(mlbench.mlp(), 1).compiled.passes
    yield from ["| pass | what it does |", "| --- | --- |"]
    yield from (f"| {{ref}}`{each.name} <pass-{each.name.replace('_', '-')}>` | {each.summary} |" for each in found)
    for each in found:
        module = sys.modules[each.explain.__module__]
        yield from [
            "",
            f"(pass-{each.name.replace('_', '-')})=",
            f"## {each.name}",
            "",
            _sentence(each.summary),
            "",
            prose(module.__doc__ or ""),
            "",
        ]


def prose(docstring: str) -> str:
    """Return a docstring as Markdown: outside of code, powers are no emphasis."""
    lines = inspect.cleandoc(docstring).splitlines()
    plain = [line if line.startswith("    ") else _outside_code(line) for line in lines]
    return "\n".join(plain)


def _outside_code(line: str) -> str:
    parts = re.split(r"(`[^`]*`)", line)
    return "".join(
        part if part.startswith("`") else re.sub(r"(?<=\w)\*\*(?=[\w-])|_", lambda found: "".join(rf"\{each}" for each in found[0]), part)
        for part in parts
    )


# files


def formats() -> Iterator[str]:
    """Every file format: its kind, its version, the history of its versions, and its fields."""
    for file in FILES:
        schema = json_schema(file)
        whole = schema["$ref"].rpartition("/")[2]
        yield from [
            "",
            f"(format-{file.kind})=",
            f"## {file.kind}",
            "",
            f"The {file.noun.removesuffix(' file')} file, version {file.version}: "
            f"{{download}}`{file.kind}.json <generated/{file.kind}.json>`.",
            "",
        ]
        yield from _history(file.history)
        yield from _fields(schema["$defs"].pop(whole))
        for name, part in schema["$defs"].items():
            yield from [f"**{name}**", ""]
            yield from _fields(part)


def _history(comment: str) -> Iterator[str]:
    """One line a version: `1: first version. 2: ...`."""
    for part in re.split(r"(?<=[.;]) (?=\d+: )", " ".join(comment.split())):
        number, found, what = part.partition(": ")
        yield f"- Version {number}: {_sentence(what)}" if found and number.isdigit() else f"- {_sentence(part)}"
    yield ""


def _fields(schema: dict[str, Any]) -> Iterator[str]:
    yield from ["| field | type |", "| --- | --- |"]
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        yield f"| `{name}` | {_type(field)}{'' if name in required else ', optional'} |"
    yield ""


def _type(field: dict[str, Any] | bool) -> str:  # noqa: FBT001  # JSON Schema allows `true`
    """Return in words what a field may hold."""
    if isinstance(field, bool):
        return "anything"
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if "const" in field:
        return f"`{json.dumps(field['const'])}`"
    if "enum" in field:
        return " or ".join(f"`{json.dumps(each)}`" for each in field["enum"])
    for several in ("anyOf", "oneOf"):
        if several in field:
            return " or ".join(_type(each) for each in field[several])
    kinds = field.get("type", "anything")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    words = [f"array of {_type(field['items'])}" if kind == "array" and "items" in field else kind for kind in kinds]
    return " or ".join(words)
