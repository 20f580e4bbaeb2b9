"""The first process of a container: passes signals on, and ends only when the senders have ended, too.

When the first process of a container ends, everything in it is killed, also a sender in the middle of a request.

python -m deployments.entrypoint prefect worker start ...
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["main"]

# A POST takes two minutes at most, and then its outcome is stored.
LONGEST_SECONDS = 150.0
_LOOK_AGAIN_SECONDS = 0.1
_SENDER = b"songflow.sender.process"


def main() -> int:
    """Run the command of the arguments; returns its exit code when all senders of this container have ended."""
    _adopt_orphans()
    command = subprocess.Popen(sys.argv[1:])
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda passed, _frame: command.send_signal(passed))
    code = command.wait()
    ends = time.monotonic() + LONGEST_SECONDS
    while _senders() and time.monotonic() < ends:
        time.sleep(_LOOK_AGAIN_SECONDS)
    return code if code >= 0 else 128 - code


def _adopt_orphans() -> None:
    """Become the parent of what the command leaves behind, also where another process is the container's first."""
    with suppress(ImportError, OSError, AttributeError):
        import ctypes

        set_child_subreaper = 36
        ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


def _senders() -> list[int]:
    """The senders among this process's descendants that have not ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    parents = {}
    senders = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            pid = int(process.name)
            parents[pid] = int((process / "stat").read_bytes().rpartition(b")")[2].split()[1])
            if _SENDER in (process / "cmdline").read_bytes():
                senders.append(pid)
    return [pid for pid in senders if _descends(pid, parents)]


def _descends(pid: int, parents: dict[int, int]) -> bool:
    while pid in parents and pid != os.getpid():
        pid = parents[pid]
    return pid == os.getpid()


if __name__ == "__main__":
    sys.exit(main())
