"""The runtimes that ours is measured against, one adapter a file."""
