"""How a program runs: its schedule as data, the heuristics and the search that decide it, the verifier and the printed form."""
