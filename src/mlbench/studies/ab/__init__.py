"""A/B of two versions: a project's own pytest-benchmark suite, in live processes of both versions that are interleaved."""
