"""How a graph runs on NumPy: Python source made from the op table, and what its names stand for."""
