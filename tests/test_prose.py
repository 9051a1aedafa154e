"""What the program says to people keeps the project's rules for prose, as far as a test can see them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import mlbench

SOURCE = Path(mlbench.__file__).resolve().parent
README = Path(__file__).resolve().parents[1] / "README.md"
BANNED = re.compile(r"\b(told|stands?|beside|hungrier|whoever|all the same|where there (?:is|are) none)\b", re.IGNORECASE)
MOST_WORDS = 40
"""Of a sentence; 25 are the rule, and lists are longer."""


def texts(path: Path) -> Iterator[str]:
    """Give every text of a module that has words with spaces between, but for docstrings; {} is what an f-string fills in."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    apart = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    apart |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        text = ""
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in apart:
            text = node.value
        if " " in text:  # a name has none
            yield text


@pytest.mark.parametrize("room", sorted({path.relative_to(SOURCE).parts[0] for path in SOURCE.rglob("*.py")}))
def test_words_are_plain(room: str) -> None:
    """No message, help, title or note has a banned word, or a sentence that nobody reads to its end."""
    paths = [SOURCE / room] if room.endswith(".py") else sorted((SOURCE / room).rglob("*.py"))
    found = [text for path in paths for text in texts(path)]
    assert [text for text in found if BANNED.search(text)] == []
    sentences = [each for text in found if "\n" not in text for each in re.split(r"(?<=[.!?;:]) ", text)]
    assert [each for each in sentences if len(each.split()) > MOST_WORDS] == []


def test_the_readme_is_plain() -> None:
    """It keeps the same rule."""
    assert BANNED.findall(README.read_text(encoding="utf-8")) == []
