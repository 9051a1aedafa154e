"""The code of sweeps over rows: formulas of one vector, functions of float32 as polynomials, and expressions along a row."""
