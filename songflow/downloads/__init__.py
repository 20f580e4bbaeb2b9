"""Fetch songs and covers: resume, address policy, size caps."""
