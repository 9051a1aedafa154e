"""The words of the output and what they mean, for the page, the command `mlbench glossary` and the documentation.

`glossary.md` holds them once, as the documentation prints them; the roles of Sphinx in it become plain text here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources

_ROLE = re.compile(r"\{(\w+)\}`([^`<]*?)(?:\s*<([^`>]*)>)?`")


@cache
def glossary() -> dict[str, str]:
    """Return each word and its definition as plain text, in the order of the file: words of the output, then columns of its tables."""
    words: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in _entries((resources.files("mlbench.report") / "glossary.md").read_text(encoding="utf-8")):
        if line.startswith(" "):
            lines.append(line.strip())
        elif line:
            lines = words.setdefault(line, [])
    return {word: _plain(" ".join(found)) for word, found in words.items()}


def defined(words: Iterable[str]) -> dict[str, str]:
    """Return those of the words that the glossary has, each once, with their definitions."""
    known = glossary()
    return {word: known[word] for word in dict.fromkeys(words) if word in known}


def key_of(word: str) -> str:
    """Return what the page calls the place of a word.

    >>> key_of("95 % interval")
    'word-95-interval'
    """
    return "word-" + re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")


def _entries(text: str) -> Iterator[str]:
    inside = False
    for line in text.splitlines():
        if line.startswith("```"):
            inside = line == "```{glossary}"
        elif inside:
            yield line


def _plain(text: str) -> str:
    def shown(role: re.Match[str]) -> str:
        kind, words, target = role.groups()
        return f"the page {(target or words)!r} of the documentation" if kind == "doc" else words

    return _ROLE.sub(shown, text).replace("`", "").replace("*", "")
