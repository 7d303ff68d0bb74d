"""What is computed from the log: projections, refreshed by watermark, rebuilt by replay."""
