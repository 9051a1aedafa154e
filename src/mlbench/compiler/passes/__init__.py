"""Graph -> Graph, one optimisation a file; its docstring explains it to a reader who never saw it."""
