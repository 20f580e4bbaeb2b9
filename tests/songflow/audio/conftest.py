"""Fixtures for tests of audio."""

from support.recordings import audio, mp3, play, write

__all__ = ["audio", "mp3", "play", "write"]
