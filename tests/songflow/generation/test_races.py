"""Tasks in many processes that race on one key: exactly one pays."""

from __future__ import annotations

import asyncio
import json

PROCESSES, TASKS = 6, 20


async def test_racing_tasks_and_processes_with_one_key_send_one_post(
    simulator, run_process, any_library, session, posts
) -> None:
    """Six processes with twenty tasks each: one POST, one charge, and the same songs for all."""
    server = simulator()
    plan = {"folder": any_library.folder, "ledger_url": any_library.ledger_url, "url": server.url}
    processes = [await run_process(**plan, key="key", tasks=TASKS, poll=0.3) for _ in range(PROCESSES)]
    for process in processes:
        assert await process.stdout.readline() == b"ready\n", (await process.communicate())[1].decode()
    ends = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert [process.returncode for process in processes] == [0] * PROCESSES, [
        errors.decode() for _, errors in ends
    ]
    results = [json.loads(line) for output, _ in ends for line in output.splitlines()]
    assert len(results) == PROCESSES * TASKS
    assert (posts(server), len(server.bill())) == (1, 1)
    assert {result["generation_id"] for result in results} == {server.bill()[0].generation_id}
    opened = await session(library=any_library)
    (submission,) = await opened.library.ledger.submissions.of_key("key")
    assert submission.state == "succeeded"
    songs = await opened.library.ledger.songs.of_key("key")
    assert [song.path is not None for song in songs] == [True, True]
