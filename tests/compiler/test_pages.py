"""Memory for large packed weights: where it lies, who shares it, and when it goes."""

from __future__ import annotations

import gc
import mmap
import weakref

import numpy as np
import pytest

from mlbench.compiler.x86 import AVX2, pack
from mlbench.compiler.x86.products.pages import LEAST_BYTES, PAGE_BYTES, Bytes, Pages

pytestmark = pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="this system has no large pages")


def address(array: Bytes) -> int:
    """Return where an array begins."""
    return int(array.ctypes.data)


def test_large_weights_lie_one_behind_the_other() -> None:
    """The first begins at a large page, the next at the cache line behind it; what does not fit any more begins new pages."""
    pages = Pages()
    one, two, three = pages.take(PAGE_BYTES // 2 + 1), pages.take(PAGE_BYTES // 4), pages.take(PAGE_BYTES + 1)
    assert address(one) % PAGE_BYTES == 0
    assert address(two) == address(one) + PAGE_BYTES // 2 + 64
    assert address(three) % PAGE_BYTES == 0
    assert [len(one), len(two), len(three)] == [PAGE_BYTES // 2 + 1, PAGE_BYTES // 4, PAGE_BYTES + 1]


def test_small_weights_take_no_large_page() -> None:
    """A model of a few kilobytes does not take two megabytes."""
    pages = Pages()
    pages.take(LEAST_BYTES)
    assert pages._last is None


def test_pages_go_with_the_last_weight_on_them() -> None:
    """Nothing else keeps them, and the next weight gets new ones."""
    pages = Pages()
    one, two = pages.take(LEAST_BYTES + 1), pages.take(LEAST_BYTES + 1)
    assert one.base is two.base
    gone = weakref.ref(one.base)
    del one
    gc.collect()
    assert gone() is not None
    del two
    gc.collect()
    assert gone() is None
    assert address(pages.take(LEAST_BYTES + 1)) % PAGE_BYTES == 0


def test_a_system_without_large_pages_gives_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that was built without them refuses the advice."""
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", 10**6)
    taken = Pages().take(LEAST_BYTES + 1)
    taken[:] = 7
    assert (taken == 7).all()


def test_four_weights_of_half_a_megabyte_fill_a_page() -> None:
    """Nothing is kept free behind a weight whose vectors are whole, because the sizes of networks are often powers of two."""
    packed = [pack(np.ones((512, 256), np.float32), 2, AVX2) for _ in range(16)]
    pages = {int(each.ctypes.data) // PAGE_BYTES for each in packed}
    assert len(pages) <= 5  # the first weights may lie behind those of another test


def test_packing_takes_large_pages() -> None:
    """Weights that are packed lie there, and can be read a vector beyond their end."""
    weight = np.ones((300, 300), np.float32)
    packed = pack(weight, 2, AVX2)
    room = packed.base
    while isinstance(room, np.ndarray) and isinstance(room.base, np.ndarray):
        room = room.base
    assert isinstance(room, np.ndarray)
    assert len(room) % PAGE_BYTES == 0
