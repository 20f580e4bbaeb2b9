"""Fixtures for tests of audio."""

from support.recordings import audio, play, write

__all__ = ["audio", "play", "write"]
