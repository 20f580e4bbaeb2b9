"""Locks between processes on an open file or folder, which end with the process."""

from __future__ import annotations

__all__ = ["try_lock"]


def try_lock(descriptor: int) -> bool:
    """Lock an open file or folder until it is closed; False if another process has it locked.

    Where there are no such locks (Windows, some file systems), nobody is waited for.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system has no such locks
        return True
    return True
