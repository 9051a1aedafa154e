"""What each optimisation is worth in a cell, and where the time of its baseline goes."""
