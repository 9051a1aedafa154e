"""One arm of an A/B: runs a project's own pytest-benchmark suite, and lets the process that started it time each benchmark.

It needs the standard library and pytest alone, and is run by path in the interpreter of the project's environment, which is neither changed
nor asked to hold anything of ours. It collects the suite, then runs the tests in the order it is told. Where a test calls `benchmark`, it
stops and does what it is asked until it may go on: single turns, a footprint, a flame graph. Python 3.8 and later.
"""
