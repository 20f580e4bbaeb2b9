"""One process of the chaos test: works off its share of the keys until somebody kills it.

Its argument is the path of a plan in JSON: the library, the gateway, the keys with their prompts, and a file to
which it adds a line for each key that has come to an end of any kind. What stands there is not done again.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, TextIO

from pydantic import SecretStr

from songflow.accounts import Access
from songflow.errors import NotBilled, SongflowError
from songflow.families.udio import SongRequest
from songflow.gateways import DIALECTS, Account
from songflow.generation.lifecycle import generate_in
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from songflow.settings import LibrarySettings

# A refusal that may be repeated is: a person would, too.
_TURNS = 6


async def main(plan: dict[str, Any], before: set[str], attended: TextIO) -> None:
    waiting = [(key, prompt, 1) for key, prompt in plan["keys"].items() if key not in before]
    access = Access(Account(DIALECTS[plan["gateway"]], plan["url"], plan["alias"], SecretStr(plan["secret"])))
    settings = SessionSettings(poll_interval=0.1, deadline=plan["deadline"], retries=2, repeat_within=5.0)
    # Deaths around covers are the crash suite's; two thousand more downloads would only take time here.
    library = LibrarySettings(Path(plan["folder"]), covers=False)
    async with Session(library, settings) as session:

        async def one(key: str, prompt: str, turn: int) -> None:
            try:
                await generate_in(session, SongRequest(prompt=prompt), access, key=key)
                end = "done"
            except SongflowError as error:
                if isinstance(error, NotBilled) and error.repeatable and turn < _TURNS:
                    waiting.append((key, prompt, turn + 1))
                    return
                end = type(error).__name__
            attended.write(json.dumps({"key": key, "end": end}) + "\n")
            attended.flush()

        async def work() -> None:
            while waiting:
                await one(*waiting.pop(0))

        await asyncio.gather(*(work() for _ in range(plan["at_once"])))


if __name__ == "__main__":
    share = json.loads(Path(sys.argv[1]).read_text())
    done = Path(share["attended"])
    # A kill may have cut the last line short; what follows must not be part of it.
    lines = [line for line in done.read_text().splitlines() if line.endswith("}")]
    done.write_text("".join(f"{line}\n" for line in lines))
    with done.open("a") as file:
        asyncio.run(main(share, {json.loads(line)["key"] for line in lines}, file))
