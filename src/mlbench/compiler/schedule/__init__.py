"""What a pass is free to choose, as data: the heuristics that choose it, and the search for the fastest."""
