"""The report: one self-contained page of everything that result files hold."""
