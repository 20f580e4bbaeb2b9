"""The array types of the synthesiser, and parts of sounds."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

# Mono samples of shape (n,) or stereo of shape (n, 2), float32, full scale at 1.0.
Mono = np.ndarray[Any, np.dtype[np.float32]]
Audio = np.ndarray[Any, np.dtype[np.float32]]


class Part(NamedTuple):
    """The samples of a sound from `start` to `stop`, of `length` in all: what is heard of it in a clip."""

    length: int
    start: int
    stop: int

    @classmethod
    def whole(cls, length: int) -> Part:
        """All of a sound."""
        return cls(length, 0, length)
