"""One optimisation a file, which exports it as `PASS`; its docstring explains it to a reader who never saw it."""
