"""The array types of the synthesiser."""

from __future__ import annotations

from typing import Any

import numpy as np

# Mono samples of shape (n,) or stereo of shape (n, 2), float32, full scale at 1.0.
Mono = np.ndarray[Any, np.dtype[np.float32]]
Audio = np.ndarray[Any, np.dtype[np.float32]]
