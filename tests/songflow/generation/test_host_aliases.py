"""Two host names of one gateway share songs, keys and history; each row has the host it was made through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from songflow.accounts import Access, that_took
from songflow.catalog.lineage import trees
from songflow.catalog.manifest import read_manifest
from songflow.errors import InputError
from songflow.generation.extensions import find_parent, plan_extension
from songflow.generation.lifecycle import generate_in
from songflow.generation.poll_schedules import PollSchedules
from songflow.generation.repeats import read_song_metadata, require_source
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from songflow.ledger import schema
from songflow.ledger.rows import Song, Submission
from songflow.library.rebuild import Found, rebuild
from songflow.library.source_check import source_of
from songflow.polling.loop import Fixed
from songflow.sweeps.parents import parents_in
from songflow.sweeps.spec import parse_sweep


@dataclass
class Songs:
    """A core, an extension of it and one of that, made through alternating host names of one simulator."""

    session: Session
    hosts: Sequence[Access]
    core: Song
    longer: Song
    longest: Song

    async def submission(self, song: Song) -> Submission:
        return await self.session.library.ledger.submissions.get(song.submission_id)


def other_host(access: Access, here: Any) -> Access:
    """The same account through the name `localhost`."""
    url = access.account.base_url.replace("127.0.0.1", "localhost")
    return here(url, alias=access.account.alias)


@pytest.fixture
async def songs(simulator: Any, access: Any, session: Any, song_request: Any) -> Songs:
    """Three songs, each the first of its generation."""
    opened, one = await session(), access(simulator(takes=1).url)
    other = other_host(one, access)
    await generate_in(opened, song_request(), one, key="core")
    made = await opened.library.ledger.songs.of_key("core")
    for key, account in (("longer", other), ("longest", one)):
        planned = await plan_extension(opened, str(made[-1].song_id), account)
        await generate_in(opened, planned.request, account, key=key)
        made += await opened.library.ledger.songs.of_key(key)
    return Songs(opened, (one, other), *made)


async def test_a_song_is_extended_through_the_other_host(songs: Songs) -> None:
    """Root, depth, source check and lineage work across host names."""
    core, longer, longest = songs.core, songs.longer, songs.longest
    assert [(one.root_song_id, one.depth) for one in (longer, longest)] == [
        (core.song_id, 1),
        (core.song_id, 2),
    ]
    assert (longer.source_score, longest.source_score) == (1, 1)
    assert await source_of(songs.session.library, longest) == longer
    (root,) = trees(await read_manifest(songs.session.library.ledger))
    assert [(depth, node.song_id) for depth, node in root.walk()] == [
        (0, core.song_id),
        (1, longer.song_id),
        (2, longest.song_id),
    ]
    rows = [(await songs.submission(one)).base_url for one in (core, longer, longest)]
    one, other = (access.account.base_url for access in songs.hosts)
    assert rows == [one, other, one]


async def test_parents_and_accounts_are_found_by_either_host(songs: Songs, access: Any) -> None:
    """For an extension, a sweep of extensions, a repeat from a file, and a later wait; not by another port."""
    elsewhere = access("http://localhost:1")
    submission = await songs.submission(songs.longer)
    song_id = str(songs.longer.song_id)
    sweep = parse_sweep({"source_song_id": song_id, "grid": {"seed": [1, 2]}}, Path())
    file = read_song_metadata(Path(str(songs.longest.path)))
    for host in songs.hosts:
        assert host.took(submission)
        assert that_took((elsewhere, host), submission) is host
        assert (await find_parent(songs.session, song_id, host)).song == songs.longer
        assert list(await parents_in(songs.session, sweep, host)) == [song_id]
        require_source(file, [host])
    assert not elsewhere.took(submission)
    assert that_took((elsewhere,), submission) is None
    with pytest.raises(InputError, match="does not have it"):
        require_source(file, [elsewhere])
    with pytest.raises(InputError, match="not at simulator"):
        await parents_in(songs.session, sweep, elsewhere)


async def test_a_rebuild_recognises_rows_of_the_other_host(songs: Songs) -> None:
    """Files and a ledger that name different hosts of one gateway do not contradict each other."""
    library = songs.session.library
    async with library.ledger.database.write("test") as connection:
        swapped = songs.hosts[1].account.base_url
        await connection.execute(update(schema.submissions).values(base_url=swapped))
    findings = await rebuild(library, library.settings.folder)
    assert [finding.found for finding in findings] == [Found.KNOWN] * 3


async def test_polling_learns_from_both_hosts(songs: Songs, song_request: Any) -> None:
    """Ten songs through one host give the other a learned schedule."""
    ledger, (one, other) = songs.session.library.ledger, songs.hosts
    request = song_request()
    for number in range(9):
        await generate_in(songs.session, request, (one, other)[number % 2], key=f"more {number}")
    for host in songs.hosts:
        learned = PollSchedules(SessionSettings(), ledger.submissions)
        assert not isinstance(await learned.schedule(host, request), Fixed)


async def test_a_key_has_one_pace_at_both_hosts(access: Any) -> None:
    """The gateway counts requests by key, not by host name."""
    one = access("http://127.0.0.1:9", key="sk-one")
    other = other_host(one, lambda url, alias: access(url, key="sk-one", alias=alias))
    assert one.pace_name == other.pace_name
    assert one.pace_name != access("http://127.0.0.1:9", key="sk-two").pace_name
    assert one.pace_name != access("http://127.0.0.1:8", key="sk-one").pace_name
