"""The code of matrix products: register blocks, panels of packed weights, and the routines for each height of a block."""
