"""How far each case is from what this machine can do at most, and what bounds it."""
