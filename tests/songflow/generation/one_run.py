"""One process of its own that makes a generation, for tests that kill, stop or race processes.

Its argument is a plan in JSON: where the library and the gateway are, the key, and `at`: the point at which it
sends itself the signal `signal`, before the named step happens. With `tasks` it waits for a line on stdin and
then makes the same generation in so many tasks at once. It prints one JSON object for each.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from songflow.accounts import Access
from songflow.errors import SongflowError
from songflow.families.udio import SongRequest
from songflow.gateways import DIALECTS, Account
from songflow.generation import lifecycle, submit
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from songflow.ledger.songs import Songs
from songflow.ledger.submissions import Submissions
from songflow.library.audio_store import AudioStore
from songflow.settings import LibrarySettings

POINTS: dict[str, tuple[Any, str]] = {
    "before sending": (Submissions, "begin_send"),
    "before the ledger has the id": (Submissions, "accepted"),
    "before waiting": (lifecycle, "wait"),
    "before downloading": (lifecycle, "collect"),
    "before the part becomes a song": (AudioStore, "put_sync"),
    "before the song's row": (Songs, "stored"),
}


def interrupt(at: str, number: int) -> None:
    """Send a signal to this process at this fail point; after SIGSTOP it continues with SIGCONT."""
    home, name = POINTS[at]
    step = getattr(home, name)

    def stop_first(*args: Any, **named: Any) -> Any:
        os.kill(os.getpid(), number)
        return step(*args, **named)

    setattr(home, name, stop_first)


def say(line: str) -> None:
    """Print a message for the test."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main(plan: dict[str, Any]) -> int:
    if plan.get("at"):
        interrupt(plan["at"], signal.Signals[plan.get("signal", "SIGKILL")])
    submit.INTENT_LEASE_SECONDS = plan.get("intent_lease", submit.INTENT_LEASE_SECONDS)
    library = LibrarySettings(Path(plan["folder"]), ledger_url=plan.get("ledger_url"))
    access = Access(Account(DIALECTS["simulator"], plan["url"], "test"))
    request = SongRequest(prompt="a slow waltz for two cellos")
    settings = SessionSettings(poll_interval=plan.get("poll", 0.02), deadline=60.0)
    async with Session(library, settings) as session:
        if plan.get("tasks"):
            say("ready")
            sys.stdin.readline()
        runs = [
            lifecycle.generate_in(session, request, access, key=plan["key"])
            for _ in range(plan.get("tasks", 1))
        ]
        worst = 0
        for result in await asyncio.gather(*runs, return_exceptions=True):
            if isinstance(result, SongflowError):
                worst = max(worst, result.exit_code)
                say(json.dumps({"error": str(result), **result.facts()}))
            elif isinstance(result, BaseException):
                raise result
            else:
                say(json.dumps(result.as_dict()))
        return worst


if __name__ == "__main__":
    sys.exit(asyncio.run(main(json.loads(sys.argv[1]))))
