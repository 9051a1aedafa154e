"""The life of an arm's process: its channel, its signals, and the run of pytest."""

from __future__ import annotations

import contextlib
import os
import signal

from .channel import Channel


def end_with_parent() -> None:
    """Have the kernel end this process when its parent is gone, which a test that hangs would not notice; Linux alone can."""
    with contextlib.suppress(Exception):
        import ctypes

        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))  # PR_SET_PDEATHSIG


def run() -> int:
    """Run the suite as the first request says."""
    # a session of its own keeps the terminal's Ctrl-C away; elsewhere the parent decides what that means
    signal.signal(signal.SIGINT, signal.default_int_handler if hasattr(os, "setsid") else signal.SIG_IGN)
    end_with_parent()
    channel = Channel()
    settings = channel.listen()
    try:
        import pytest

        from .suite import Suite
    except ImportError as error:
        channel.tell(failed="this environment has no pytest (%s)" % error)
        return 2
    suite = Suite(channel, settings)
    code = pytest.main(settings["arguments"], plugins=[suite])
    channel.tell(failed="pytest ended with %d %s" % (int(code), "before its tests were through" if suite.ran else "before it ran a test"))
    return int(code)
