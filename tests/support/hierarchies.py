"""Caches of processors that the tests do not run on."""

from __future__ import annotations

from mlbench.compiler.x86 import Caches

_KIB = 1024
ZEN_3 = Caches(32 * _KIB, 8, 512 * _KIB, 8, 32 * 1024 * _KIB, 16, 8)
SAPPHIRE_RAPIDS = Caches(48 * _KIB, 12, 2048 * _KIB, 16, 60 * 1024 * _KIB, 15, 32)
SMALL = Caches(32 * _KIB, 8, 256 * _KIB, 8, 8 * 1024 * _KIB, 16, 4)
ONE_MIB = Caches(32 * _KIB, 8, 1024 * _KIB, 16)
