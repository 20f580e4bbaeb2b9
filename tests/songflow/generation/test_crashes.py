"""Processes killed or stopped at every point of the paid step, and their recovery: billed once, complete songs."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from songflow.audio.decoding import measure
from songflow.errors import OutcomeUnknown
from songflow.generation.lifecycle import generate_in
from songflow.ledger import State

KILLED = -signal.SIGKILL


def _assert_whole(result, count: int = 2) -> None:
    """Check that every song of the result decodes to its end, and that no partial file has a song's name."""
    assert len(result.stored) == count == len(result.songs)
    for song in result.songs:
        assert measure(Path(song.path)).seconds == pytest.approx(0.25, abs=0.02)
    folder = Path(result.songs[0].path).parent
    assert {str(file) for file in folder.glob("*.mp3")} == {song.path for song in result.songs}
    assert list((folder / ".parts").glob("*.part")) == []


@pytest.mark.parametrize(
    ("at", "billed_before", "state"),
    [
        ("before sending", 0, State.INTENDED),
        ("before the ledger has the id", 1, State.SENDING),
        ("before waiting", 1, State.ACCEPTED),
        ("before downloading", 1, State.SUCCEEDED),
        ("before the part becomes a song", 1, State.SUCCEEDED),
        ("before the song's row", 1, State.SUCCEEDED),
    ],
)
async def test_after_a_kill_the_same_key_stores_whole_songs_and_pays_once(
    simulator,
    access,
    session,
    song_request,
    run_process,
    library_settings,
    at: str,
    billed_before: int,
    state,
) -> None:
    """At whichever fail point a process is killed, the next one with its key continues from there."""
    server = simulator()
    process = await run_process(folder=library_settings.folder, url=server.url, key="key", at=at)
    _, errors = await process.communicate()
    assert process.returncode == KILLED, errors.decode()
    assert len(server.bill()) == billed_before
    opened = await session()
    (left,) = await opened.library.ledger.submissions.of_key("key")
    assert left.state is state
    result = await generate_in(opened, song_request(), access(server.url), key="key")
    assert len(server.bill()) == 1
    assert (result.state, result.billed, result.generation_id) == (
        "succeeded",
        "yes",
        server.bill()[0].generation_id,
    )
    assert len(await opened.library.ledger.submissions.of_key("key")) == 1
    _assert_whole(result)


async def test_a_process_and_its_sender_killed_during_the_post_leave_an_unknown_outcome(
    simulator, access, session, song_request, run_process, library_settings, until, posts
) -> None:
    """Only a person can settle the outcome."""
    server = simulator({"fault": "slow_answer", "seconds": 600})
    process = await run_process(folder=library_settings.folder, url=server.url, key="key")

    async def billed() -> bool:
        return bool(server.bill())

    await until(billed)
    opened = await session()
    (left,) = await opened.library.ledger.submissions.of_key("key")
    process.kill()
    os.kill(left.lease.owner.pid, signal.SIGKILL)
    await process.communicate()
    for _ in range(2):
        with pytest.raises(
            OutcomeUnknown, match="its process died while the request was under way"
        ) as caught:
            await generate_in(opened, song_request(), access(server.url), key="key")
        assert (caught.value.exit_code, caught.value.billed, caught.value.key) == (5, "maybe", "key")
        assert "songflow rescue" in caught.value.next
    assert posts(server) == 1
    assert len(server.bill()) == 1


async def test_a_suspended_process_does_not_send_after_its_lease_was_taken_over(
    simulator, access, session, song_request, run_process, library_settings, posts
) -> None:
    """It continues after its lease, loses by its fence, and collects what the other process paid for."""
    server = simulator()
    process = await run_process(
        folder=library_settings.folder,
        url=server.url,
        key="key",
        at="before sending",
        signal="SIGSTOP",
        intent_lease=0.0,
    )
    _, status = await asyncio.to_thread(os.waitpid, process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    opened = await session()
    result = await generate_in(opened, song_request(), access(server.url), key="key")
    process.send_signal(signal.SIGCONT)
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert result.generation_id in output.decode()
    assert (posts(server), len(server.bill())) == (1, 1)
    _assert_whole(result)
