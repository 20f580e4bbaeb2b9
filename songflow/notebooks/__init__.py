"""Notebooks and terminals: results as HTML with players, and progress while a call waits."""
