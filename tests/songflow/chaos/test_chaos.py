"""A thousand generations, every kind of fault at once, workers killed at any moment: nothing paid twice or lost."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from songflow.audio.decoding import measure
from songflow.generation.rescue import adopt, rescue, stranded
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from songflow.ledger import SongState, State
from songflow.ledger.rows import Song, Submission
from songflow.ledger.states import RULES
from songflow.settings import LibrarySettings

PAID = {State.ACCEPTED, State.RUNNING, State.SUCCEEDED, State.FAILED, State.OVERDUE, State.LOST}
SETTLED = {State.SUCCEEDED, State.FAILED, State.UNSENT, State.REFUSED}


async def _work_off(chaos: Any, luck: Any) -> None:
    """Run the workers to their end; each time the bill has grown enough, kill one and restart it."""
    for number in chaos.workers:
        await chaos.start(number)
    for count in chaos.kill_counts(luck):
        while chaos.billed() < count and any(one.returncode is None for one in chaos.running.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        victim = luck.choice(chaos.workers)
        if chaos.running[victim].returncode is None:
            await chaos.kill(victim)
            await chaos.start(victim)
    for number, process in chaos.running.items():
        assert await process.wait() == 0, chaos.logs()[-4000:] + f"\nworker {number}"


async def _rescue_all(session: Session) -> tuple[dict[str, Any], int]:
    """Rescue until nothing changes; what is left by key, and how many rounds it took."""
    before: Any = None
    for rounds in range(1, 20):
        left = {one.key: one for one in await rescue(session) if one.exit_code}
        now = {key: (one.state, [song.path for song in one.songs]) for key, one in left.items()}
        if now == before:
            return left, rounds
        before = now
    raise AssertionError(f"rescue never came to rest: {left}")


async def _ledger(session: Session, keys: Any) -> tuple[dict[str, list[Submission]], list[Song]]:
    everything = await session.library.ledger.submissions.in_states(list(State))
    by_key: dict[str, list[Submission]] = {key: [] for key in keys}
    songs: list[Song] = []
    for one in everything:
        by_key[one.key].append(one)
        songs += await session.library.ledger.songs.of_submission(one.id)
    return by_key, songs


def _assert_whole(stored: list[Song], library: Path) -> None:
    """Every stored song is a file with the checksum and audio in the ledger, and there is no other file."""
    assert {str(file) for file in (library / "audio").glob("*.mp3")} == {song.path for song in stored}
    assert len({song.path for song in stored}) == len(stored)
    sounds: dict[str | None, float] = {}
    for song in stored:
        data = Path(str(song.path)).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (song.bytes, song.sha256)
        if song.audio_sha256 not in sounds:
            sounds[song.audio_sha256] = measure(Path(str(song.path))).seconds
        assert sounds[song.audio_sha256] == pytest.approx(0.5, abs=0.1)


@pytest.mark.timeout(900)
async def test_a_thousand_songs_with_every_fault_and_killed_workers(
    chaos: Any, luck: Any, record_property: Any
) -> None:
    """Each prompt is billed at most once; every billed take is on disk or reported with its reason."""
    await _work_off(chaos, luck)
    attended = chaos.attended()
    assert attended.total() == len(chaos.prompts)
    assert "Traceback" not in chaos.logs()

    settings = SessionSettings(poll_interval=0.1, deadline=1.0)
    async with Session(LibrarySettings(chaos.library, covers=False), settings, chaos.resolve) as session:
        left, rounds = await _rescue_all(session)
        by_key, songs = await _ledger(session, chaos.prompts)
        bill = chaos.bill()

        # Never paid twice.
        twice = [key for key, times in Counter(bill.values()).items() if times > 1]
        assert twice == []
        # The bill and the ledger tell the same story.
        submissions = [one for several in by_key.values() for one in several]
        known = {one.any_id: one.key for one in submissions if one.state in PAID}
        unknown = {one.key for one in submissions if one.state is State.UNKNOWN}
        surprises = {one: key for one, key in bill.items() if one not in known}
        assert known.items() <= bill.items()
        assert set(surprises.values()) <= unknown
        assert len(bill) == len(known) + len(surprises)
        assert len(known) == sum(one.state in PAID for one in submissions)
        # No key without an end that somebody can explain.
        for key, several in by_key.items():
            assert several, f"{key} was never intended"
            assert {one.state for one in several[:-1]} <= {State.UNSENT, State.REFUSED}
            last = several[-1]
            assert last.state in SETTLED or key in left, f"{key} is {last.state}"
            assert last.state is State.SUCCEEDED or last.error, f"{key} is {last.state} for no reason"
        assert all(one.error and one.next for one in left.values())
        assert {one.key for one in await stranded(session)} <= set(left)
        assert {key for key, one in left.items() if one.state == State.UNKNOWN} == unknown
        # Every song that can be had is on the disk, or is told of.
        stored = [song for song in songs if song.state is SongState.STORED]
        _assert_whole(stored, chaos.library)
        on_disk = {song.song_id for song in stored}
        told = {song.song_id for song in songs if song.state is SongState.ANNOUNCED and song.error}
        offered = await chaos.offered(list(bill))
        for generation_id, takes in offered.items():
            if RULES[by_key[bill[generation_id]][-1].state].unsettled:
                continue  # in `left`, with its reason
            assert takes <= on_disk | told, f"{bill[generation_id]}: {takes - on_disk - told}"

        # The gateway recovers, and a person reads its log: then everything that it billed is ours.
        chaos.heal()
        for generation_id, key in surprises.items():
            await adopt(session, generation_id, key=key)
        left_after, _ = await _rescue_all(session)
        by_key, songs = await _ledger(session, chaos.prompts)
        stored = [song for song in songs if song.state is SongState.STORED]
        _assert_whole(stored, chaos.library)
        on_disk = {song.song_id for song in stored}
        assert {one.state for one in left_after.values()} <= {State.UNKNOWN}
        assert set(left_after).isdisjoint(bill.values())
        for generation_id, key in bill.items():
            assert by_key[key][-1].state in {State.SUCCEEDED, State.FAILED}
            assert by_key[key][-1].any_id == generation_id
            assert offered[generation_id] <= on_disk
        assert chaos.bill() == bill

    record_property(
        "chaos",
        f"chaos: {len(chaos.prompts)} keys, {len(bill)} billed, none twice, {chaos.kills} kills; "
        f"{len(surprises)} billed without an answer, all found as unknown ({len(unknown)}) and adopted; "
        f"{rounds} rescue rounds left {len(left)}, {len(left_after)} unbilled unknown in the end; "
        f"{len(stored)} songs whole; ends {dict(attended.most_common())}; {chaos.facts()}",
    )
