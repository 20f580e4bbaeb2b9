"""What measures speed: ratios of one run on one machine, never a test."""
