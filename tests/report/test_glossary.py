"""The glossary: one text for the documentation, the page and the command."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlbench.cli import main
from mlbench.report.glossary import defined, glossary, key_of
from mlbench.report.tables.cases import tables
from mlbench.results import CodeCounts, LevelBytes
from support.saved_results import case, result


def test_a_definition_is_plain_text() -> None:
    """Roles of Sphinx, marks of code and stars are gone."""
    words = glossary()
    assert words["floor"].endswith("See the page 'how-it-works/floor' of the documentation.")
    assert not [word for word, text in words.items() if not text or set("{}`*<>") & set(text.replace("->", ""))]


def test_every_word_has_a_place_of_its_own() -> None:
    """No two words share an address on the page."""
    assert len({key_of(word) for word in glossary()}) == len(glossary())


def test_the_columns_of_a_run_are_defined() -> None:
    """A person who meets a column can look it up."""
    levels = (LevelBytes("L2", 1, 0, 1), LevelBytes("L3", 1, 1, 1), LevelBytes("memory", 1, 1, 1))  # lines asked for bypass the first level
    code = CodeCounts("AVX2", 1, 1, 1, 1, 1, 1, 1, "L1", levels)
    headers = [header for table in tables(result(replace(case(), code=code)).measurements) for header in table.headers]
    assert "memory asked" in headers
    assert set(headers) - set(defined(headers)) == set()


def test_the_command_explains_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    """The definition follows the word, indented."""
    assert main(["glossary", "kept heap"]) == 0
    assert capsys.readouterr().out.startswith("kept heap\n  ")


def test_an_unknown_word_is_answered_with_near_ones(capsys: pytest.CaptureFixture[str]) -> None:
    """A slip of the pen costs no search."""
    assert main(["glossary", "flor"]) == 2
    assert "the glossary has no 'flor'; it has floor" in capsys.readouterr().err
