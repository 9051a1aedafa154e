"""How often the gate is wrong: comparisons whose answer is known, counted and recombined."""
