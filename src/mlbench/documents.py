"""JSON documents of ours: each has a kind, a version of its schema, and a schema that it is validated against before it is used.

A schema file holds what its kind has of its own; definitions that several kinds share, such as an environment, stand in
`result-schema.json` alone.
"""

from __future__ import annotations

import importlib
import json
import math
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from mlbench.errors import FileError, MissingExtraError
from mlbench.files import read_limited, write_atomically
from mlbench.units import visible

_SHARED = "result-schema.json"
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
MOST = 2**63
"""No whole number in a document of ours is larger."""
MOST_BYTES = 1 << 28
"""Of a file; the largest of ours have a few megabytes."""
MOST_SHOWN = 200
"""Characters of what is wrong that a message has."""


@dataclass(frozen=True, slots=True)
class Form:
    """What identifies a kind of document.

    Attributes:
        kind: stands in the document as `kind`.
        version: stands in it as `schema`; another version is refused.
        schema: file of the JSON schema, in this package.
        noun: what messages call it.
    """

    kind: str
    version: int
    schema: str
    noun: str


def write_document(path: str | Path, form: Form, data: dict[str, Any]) -> Path:
    """Write a document, whole or not at all.

    Raises:
        FileError: when it cannot be written.
    """
    head = {"schema": form.version, "kind": form.kind}
    return write_atomically(path, json.dumps(head | data, indent=1, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:  # whatever JSON holds
    """Read a file of JSON whose numbers are all finite, and whose text can be shown and written again.

    Raises:
        FileError: when it is missing, damaged, or larger than MOST_BYTES.
    """
    content = read_limited(path, MOST_BYTES)
    try:
        text = content.decode("utf-8")
        data = shown(json.loads(text, parse_constant=_no_number, parse_float=_finite, parse_int=_exact))
        if _SURROGATE.search(text):  # a half of a pair cannot be written again
            json.dumps(data, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: cannot be read as JSON ({_short(str(error))})") from error
    return data


def shown(data: Any) -> Any:  # whatever JSON holds
    """Return data from elsewhere with `visible` text, so that no name in a file can tell a terminal what to do, whoever prints it."""
    if isinstance(data, dict):
        return {visible(name): shown(each) for name, each in data.items()}
    if isinstance(data, list):
        return [shown(each) for each in data]
    return visible(data) if isinstance(data, str) else data


def check_document(path: str | Path, data: Any, form: Form) -> None:  # whatever JSON holds
    """Refuse what is no valid document of this form.

    Raises:
        FileError: saying what is wrong with it, and where.
        MissingExtraError: without jsonschema.
    """
    if not isinstance(data, dict) or data.get("kind") != form.kind:
        raise FileError(f"{path}: no {form.noun} of mlbench (its kind is not {form.kind!r})")
    if data.get("schema") != form.version or isinstance(data["schema"], bool):
        raise FileError(f"{path}: schema version {_short(repr(data.get('schema')))}; this mlbench reads version {form.version}")
    try:
        jsonschema = importlib.import_module("jsonschema")
    except ImportError as error:
        raise MissingExtraError("reading a result file", "jsonschema") from error
    schema = _schema(form.schema)
    schema["$defs"] = _schema(_SHARED)["$defs"] | schema.get("$defs", {})
    problem = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(data))
    if problem is not None:
        raise FileError(f"{path}: not a valid {form.noun} at {_short(problem.json_path)}: {_short(problem.message)}")


def plain(value: Any) -> Any:  # whatever a dataclass holds
    """Return JSON data: tuples become lists, durations keep six digits, and what is not finite becomes null."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def _schema(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((resources.files("mlbench") / name).read_text(encoding="utf-8"))
    return schema


def _short(text: str) -> str:
    """Return text on one line, without its middle where it is long: what was found stands at its beginning, what is expected at its end."""
    line = " ".join(text.split())
    return line if len(line) <= MOST_SHOWN else f"{line[: MOST_SHOWN // 2]} ... {line[-MOST_SHOWN // 2 :]}"


def _exact(text: str) -> int:
    number = int(text)
    if abs(number) > MOST:
        raise ValueError(f"{_short(text)} is larger than any number of ours")
    return number


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no finite number")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)
