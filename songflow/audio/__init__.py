"""Decode, tag, align, splice and measure audio. Knows files and samples only."""
