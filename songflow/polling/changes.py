"""Detect the last change of a gateway's durations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from songflow.polling.durations import Duration

__all__ = ["recent"]

_FEWEST = 6
# Threshold with one false alarm in a thousand histories without a change.
_SURELY_DIFFERENT = 2.2


def recent(durations: Sequence[Duration]) -> list[Duration]:
    """Select the durations (oldest first) since the gateway's last detectable change.

    For every m, the newest m are compared with all earlier ones by the Kolmogorov-Smirnov distance of their
    distribution functions, where values between their bounds count half; the most significant change cuts the history.
    """
    size = len(durations)
    if size < 2 * _FEWEST:
        return list(durations)
    low, high = np.array([one.bounds for one in durations[::-1]]).T
    times = np.unique(np.concatenate((low, high)))
    ended = ((high[:, None] <= times) + 0.5 * ((low[:, None] < times) & (times < high[:, None]))).cumsum(
        axis=0
    )
    newest = np.arange(_FEWEST, size - _FEWEST + 1)
    of_new = ended[newest - 1] / newest[:, None]
    of_old = (ended[-1] - ended[newest - 1]) / (size - newest)[:, None]
    clear = np.sqrt(newest * (size - newest) / size) * np.abs(of_new - of_old).max(axis=1)
    best = int(np.argmax(clear))
    return list(durations[-newest[best] :]) if clear[best] > _SURELY_DIFFERENT else list(durations)
