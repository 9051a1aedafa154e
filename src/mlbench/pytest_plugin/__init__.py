"""The pytest plugin: the fixture `mlbench` on top of pytest-benchmark's `benchmark`, and the gate inside pytest."""
