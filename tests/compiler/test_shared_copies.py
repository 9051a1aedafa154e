"""Copies that are shared: the same one for the same array and form, and never that of an array which is gone."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from mlbench.compiler.shared_copies import _copies, shared_copy
from mlbench.ir import frozen


def test_a_copy_is_made_once_for_each_form() -> None:
    """The same array and form give the same copy, another form another one."""
    source = frozen(np.ones((3, 2)))
    one, other = (shared_copy(source, "F", lambda: frozen(source, "F")) for _ in range(2))
    third = shared_copy(source, "C", lambda: frozen(source))
    assert one is other
    assert third is not one


def test_another_array_at_the_same_address_has_its_own_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """An array may lie where a former one was, whose copy somebody still holds; when that goes, the later one's stays."""
    monkeypatch.setattr("mlbench.compiler.shared_copies.id", lambda array: 7, raising=False)
    one, other = frozen(np.ones((3, 2))), frozen(np.zeros((3, 2)))
    first = shared_copy(one, "F", lambda: frozen(one, "F"))
    second = shared_copy(other, "F", lambda: frozen(other, "F"))
    assert not second.any()
    del first
    gc.collect()
    assert shared_copy(other, "F", lambda: frozen(other, "F")) is second


def test_a_copy_that_nobody_holds_is_forgotten() -> None:
    """The table does not grow with copies that are gone."""
    source = frozen(np.ones((3, 2)))
    gc.collect()
    before = len(_copies)
    copy = shared_copy(source, "F", lambda: frozen(source, "F"))
    assert len(_copies) == before + 1
    del copy
    gc.collect()
    assert len(_copies) == before
