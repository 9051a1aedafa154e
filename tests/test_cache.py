"""What is remembered between processes: it comes back, and what is damaged or foreign is ignored with a warning."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from mlbench.cache import CacheWarning, cache_folder, recall, remember

KEY = {"cpu": "this one", "sizes": [64, 10]}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path / "cache"))


def _file() -> Path:
    (path,) = cache_folder().iterdir()
    return path


def test_what_is_remembered_comes_back() -> None:
    """The value under this key, and nothing under another key or kind."""
    remember("choices", KEY, {"tile_rows": 48})
    assert recall("choices", KEY) == {"tile_rows": 48}
    assert recall("choices", {**KEY, "cpu": "another"}) is None
    assert recall("kernel", KEY) is None


def test_nothing_remembered_is_nothing() -> None:
    """Without a file there is no warning."""
    assert recall("choices", KEY) is None


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", json.dumps({"kind": "choices"}), json.dumps({"kind": "kernel", "key": KEY, "value": 1}), "[" * 100_000],
    ids=["empty", "truncated", "list", "null", "no-value", "another-kind", "deep"],
)
def test_a_damaged_file_is_ignored_and_written_anew(content: str) -> None:
    """The reader is warned with the path, nothing is used, and the next answer replaces the file."""
    remember("choices", KEY, 1)
    _file().write_text(content)
    with pytest.warns(CacheWarning, match=r"choices-.*json .*; it is ignored and written anew"):
        assert recall("choices", KEY) is None
    remember("choices", KEY, 2)
    assert recall("choices", KEY) == 2


def test_a_file_of_another_key_is_ignored() -> None:
    """A file renamed to this key's name holds its own key, and is found out."""
    remember("choices", KEY, 1)
    name = _file().name
    remember("choices", {"cpu": "another"}, 2)
    other = next(path for path in cache_folder().iterdir() if path.name != name)
    other.replace(cache_folder() / name)
    with pytest.warns(CacheWarning, match="is not what mlbench wrote for this key"):
        assert recall("choices", KEY) is None


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be remembered below a file; the warning names the variable that names another folder."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path / "file" / "below"))
    with pytest.warns(CacheWarning, match=r"cannot remember anything in .*below .*\$MLBENCH_CACHE names another folder"):
        remember("choices", KEY, 1)


@pytest.mark.parametrize(
    ("system", "variables", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/mlbench"),
        ("linux", {"HOME": "/home/me"}, "/home/me/.cache/mlbench"),
        ("darwin", {"HOME": "/Users/me"}, "/Users/me/Library/Caches/mlbench"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/mlbench"),
    ],
    ids=["xdg", "home", "mac", "windows"],
)
def test_each_system_has_its_place(monkeypatch: pytest.MonkeyPatch, system: str, variables: dict[str, str], expected: str) -> None:
    """Without MLBENCH_CACHE the folder is where the system keeps caches."""
    for name in ("MLBENCH_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", system)
    assert cache_folder() == Path(expected)
