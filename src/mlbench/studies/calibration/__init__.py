"""Comparisons whose answer is known, kept in a folder."""
