"""Judgements in the ledger: the newest stands, whatever comes when and how often, on SQLite and PostgreSQL."""

from __future__ import annotations

import itertools
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, text

import songflow.ledger.migrate as migrate
from songflow.ledger import Ledger, State, schema
from songflow.ledger.engine import ledger_url
from songflow.ledger.judgements import Judgement, JudgementKind
from songflow.ledger.songs import Lineage

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
RATING = JudgementKind.RATING


@pytest.fixture
async def song(ledger: Ledger, in_state, take) -> int:
    """The row of a take."""
    submission = await in_state(State.RUNNING)
    [row] = await ledger.songs.ended(
        submission.id, submission.key, Lineage("regular", None), [take()], {"body": ""}
    )
    return row.id


def rated(song: int, value: float | None, minute: int, id: str) -> Judgement:
    """A rating at a minute after noon."""
    return Judgement(song, RATING, value, by=f"person {id}", at=NOON + timedelta(minutes=minute), id=id)


async def test_the_newest_stands_in_every_order(ledger: Ledger, song: int) -> None:
    """Of two at one time the larger id; each arrives twice, and counts once."""
    four = [rated(song, 1, 0, "d"), rated(song, None, 1, "c"), rated(song, 3, 2, "a"), rated(song, 4, 2, "b")]
    for order in itertools.permutations(four):
        async with ledger.database.write("test") as connection:
            await connection.execute(delete(schema.judgements))
        assert [len(await ledger.judgements.record([one])) for one in order] == [1] * 4
        assert await ledger.judgements.record(order) == []
        row = await ledger.songs.get(song)
        assert (row.rating, row.rated_by, row.rated_at) == (4.0, "person b", NOON + timedelta(minutes=2))


async def test_an_undone_judgement_gives_way_to_the_one_before(ledger: Ledger, song: int) -> None:
    """Unless a newer one stands; a value that was taken away has no one who gave it."""
    await ledger.judgements.record(
        [rated(song, 1, 0, "a"), rated(song, None, 1, "b"), rated(song, 3, 2, "c")]
    )
    assert [one.before for one in await ledger.judgements.of_song(song)] == [None, 1.0, None]
    found = []
    for undone in ("a", "c", "b"):
        assert len(await ledger.judgements.undo(undone)) == 1
        row = await ledger.songs.get(song)
        found.append((row.rating, row.rated_by, row.rated_at is None))
    assert found == [(3.0, "person c", False), (None, None, True), (None, None, True)]
    assert await ledger.judgements.undo("a") == await ledger.judgements.undo("unknown") == []
    # What is undone does not come back with a file that is taken in again.
    assert await ledger.judgements.record([rated(song, 1, 0, "a")]) == []


async def test_a_clock_that_was_set_back_does_not_outweigh_a_person(ledger: Ledger, song: int) -> None:
    """What is said now comes after all that was said before."""
    ahead = replace_at(rated(song, 1, 0, "a"), datetime.now(UTC) + timedelta(hours=1))
    await ledger.judgements.record([ahead])
    await ledger.judgements.record([Judgement(song, RATING, 5.0)])
    assert (await ledger.songs.get(song)).rating == 5


def replace_at(one: Judgement, at: datetime) -> Judgement:
    """The same judgement at another time."""
    return Judgement(one.song, one.kind, one.value, by=one.by, at=at, id=one.id)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_ratings_of_an_older_ledger_become_judgements(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that an older judgement of a file does not replace them, and a newer one can be undone."""
    url = ledger_url(request.getfixturevalue("new_postgres") if kind == "postgres" else None, tmp_path)
    older = tmp_path / "migrations"
    shutil.copytree(Path(migrate.__file__).parent / "migrations", older)
    next(older.glob("versions/0007*")).unlink()
    with monkeypatch.context() as patched:
        patched.setattr(migrate, "_MIGRATIONS", older)
        patched.setattr("songflow.ledger.engine.SCHEMA_VERSION", "0006")
        async with Ledger(url) as ledger, ledger.database.write("test") as connection:
            for statement in OLDER:
                noon = "'2026-05-01 12:00:00.000000'" if kind == "sqlite" else "'2026-05-01 12:00:00+00'"
                await connection.execute(text(statement.replace("NOON", noon)))
    async with Ledger(url) as ledger:
        [before] = await ledger.judgements.of_song(1)
        assert (before.value, before.at, before.by) == (3.5, NOON, None)
        await ledger.judgements.record([rated(1, 1, -5, "a")])
        assert (await ledger.songs.get(1)).rating == 3.5
        await ledger.judgements.record([rated(1, 5, 5, "b")])
        await ledger.judgements.undo("b")
        assert (await ledger.songs.get(1)).rating == 3.5


OLDER = (
    "INSERT INTO generations VALUES ('k', '{}', 'h', 1, NOON)",
    "INSERT INTO submissions (id, key, ordinal, state, gateway, dialect, base_url, account, key_fingerprint, price, "
    "fence, lease_host, lease_boot, lease_pid, lease_start, lease_expires_at, intended_at) VALUES ('s', 'k', 1, "
    "'succeeded', 'g', '{}', 'u', 'a', 'f', 1, 'f', 'h', 'b', 1, 's', NOON, NOON)",
    "INSERT INTO songs (submission_id, key, take, state, payload, mode, depth, announced_at, rating, rated_at) "
    "VALUES ('s', 'k', 0, 'stored', '{}', 'regular', 0, NOON, 3.5, NOON)",
)
