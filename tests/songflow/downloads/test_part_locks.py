"""One take, one transfer: the lock on a part."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from songflow.downloads.downloader import discard_part, locked

HOLDER = """
import asyncio, sys
from pathlib import Path
from songflow.downloads.downloader import locked

async def hold():
    async with locked(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.read()

asyncio.run(hold())
"""


async def test_two_tasks_take_turns(part: Path) -> None:
    """The second comes in only when the first has gone out."""
    inside = asyncio.Event()
    leave = asyncio.Event()
    order: list[str] = []

    async def first() -> None:
        async with locked(part):
            inside.set()
            await leave.wait()
            order.append("first goes out")

    async def second() -> None:
        await inside.wait()
        async with locked(part, poll_seconds=0.001):
            order.append("second comes in")

    tasks = [asyncio.create_task(first()), asyncio.create_task(second())]
    await inside.wait()
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert order == []
    leave.set()
    await asyncio.gather(*tasks)
    assert order == ["first goes out", "second comes in"]


async def test_a_lock_ends_with_its_process(part: Path) -> None:
    """Killed, it leaves the file but not the lock."""
    holder = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs in this loop
        [sys.executable, "-c", HOLDER, str(part)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert await asyncio.to_thread(holder.stdout.readline) == b"held\n"
    waiting = asyncio.create_task(_come_in(part))
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert not waiting.done()
    holder.kill()
    await asyncio.to_thread(holder.communicate)
    await waiting


async def _come_in(part: Path) -> None:
    async with locked(part, poll_seconds=0.001):
        pass


def test_resume_data_is_deleted_but_not_the_lock(part: Path) -> None:
    """Others may be waiting on it."""
    for path in (part, part.with_suffix(".json"), part.with_suffix(".lock")):
        path.touch()
    discard_part(part)
    discard_part(part)
    assert [path.suffix for path in part.parent.iterdir()] == [".lock"]


async def test_without_file_locks_nobody_waits(part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows two processes may fetch the same song, which is only waste."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    async with locked(part), locked(part):
        pass
