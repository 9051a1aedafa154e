"""From the samples of two live versions to verdicts."""
