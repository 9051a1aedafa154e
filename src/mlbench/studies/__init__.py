"""Questions that are measured: cases, the sweep, ablation, roofline, peers, A/B, calibration."""
