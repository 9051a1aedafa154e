"""Threads that run a body together: their start, their cores, and the memory they share."""
