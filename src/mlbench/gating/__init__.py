"""The gate at work: two files, or a file and the run of a pytest session, which can measure again what is in doubt."""
