"""The review of a sweep: songs are discarded by a rule, and cells that have no others are made again."""

from __future__ import annotations

from pathlib import Path

import pytest

from songflow.errors import InvalidDocument
from songflow.sweeps.cells import cells_of
from songflow.sweeps.run import RunOptions
from songflow.sweeps.spec import parse_sweep
from songflow.sweeps.status import status_of
from songflow.sweeps.sweep import run_sweep
from songflow.sweeps.tally import SweepResult

RULE = {"discard": "loudness_lufs < 0 and seconds < 20", "again": 2}


async def test_cells_without_songs_to_keep_are_made_again_and_never_paid_twice(
    simulator, session, cells, run
) -> None:
    """Under keys of their own, up to the maximum; a cell with a fixed seed would be the same again."""
    server, review = simulator(clip_seconds=1.0), parse_sweep({"prompt": "x", "review": RULE}, Path()).review
    given = [*cells(server, replicates=2), *cells(server, 1)]
    first = await run(await session(budget_run="first"), server, given, review=review)
    assert (first.cells, first.stored, first.posts, first.exit_code) == (7, 7, 7, 0)
    opened = await session(budget_run="second")
    again = await run(opened, server, given, review=review)
    assert (again.existing, again.posts, len(server.bill())) == (7, 0, 7)
    keys = [f"{cell.key}{mark}" for cell in given[:2] for mark in ("", ".again1", ".again2")] + [given[2].key]
    songs = await opened.library.ledger.songs.of_keys(keys)
    assert len(songs) == 7
    assert {song.decision for some in songs.values() for song in some} == {"discard"}


async def test_the_status_counts_what_was_made_again(simulator, session, cells, run) -> None:
    """Each time is another cell, which is billed, too."""
    server, review = simulator(clip_seconds=1.0), parse_sweep({"prompt": "x", "review": RULE}, Path()).review
    opened, given = await session(budget_run="r"), cells(server, replicates=2)
    await run(opened, server, given, review=review)
    ledger = opened.library.ledger.key_summaries
    status = await status_of(given, ledger, again=2)
    assert (status.cells, status.stored, status.spent, status.left) == (6, 6, 6.0, 0)
    assert (await status_of(given, ledger)).cells == 2


async def test_cells_that_another_alias_of_the_key_has_paid_for_are_reviewed_too(
    simulator, access, session
) -> None:
    """The songs are found under the keys that they were paid with."""
    server, rule = simulator(clip_seconds=1.0), {**RULE, "again": 1}
    spec = parse_sweep(
        {"prompt": "a waltz", "lyrics_type": "instrumental", "replicates": 2, "review": rule}, Path()
    )

    async def sweep(alias: str, **options) -> SweepResult:
        account = access(server.url, "cometapi", key="one", alias=alias)
        opened = await session(budget_run=alias)
        return await run_sweep(opened, "test", cells_of(spec, account), account, RunOptions(**options))

    assert (await sweep("first")).posts == 2
    assert (await sweep("second", review=spec.review)).posts == 2
    assert len(server.bill()) == 4


async def test_further_songs_stay_within_the_budget(simulator, session, cells, run) -> None:
    """The songs that are there stay."""
    server, review = simulator(clip_seconds=1.0), parse_sweep({"prompt": "x", "review": RULE}, Path()).review
    opened = await session(budget_run="r", budget=3.0)
    result = await run(opened, server, cells(server, replicates=2), review=review)
    assert (result.stored, result.posts, result.exit_code) == (3, 3, 6)


async def test_a_song_that_the_rule_leaves_is_kept(simulator, session, cells, run, monkeypatch) -> None:
    """Nothing is made again; nor where the review itself fails."""
    server = simulator(clip_seconds=1.0)
    keeps = parse_sweep({"prompt": "x", "review": {**RULE, "discard": "seconds < 0.1"}}, Path()).review
    opened = await session(budget_run="r")
    result = await run(opened, server, cells(server, replicates=1), review=keeps)
    assert (result.stored, result.posts) == (1, 1)
    rule = parse_sweep({"prompt": "x", "review": RULE}, Path()).review
    monkeypatch.setattr(opened.library.ledger.measures, "of_songs", None)
    result = await run(opened, server, cells(server, replicates=1), review=rule)
    assert (result.existing, result.posts, result.exit_code) == (1, 1, 0)


@pytest.mark.parametrize(
    ("review", "words"),
    [
        ("seconds < 20", "review must be a mapping"),
        ({"again": 1}, "review.discard needs a condition"),
        ({"discard": "loudness < -30"}, "names 'loudness', which is not a measure: did you mean"),
        (
            {"discard": "seconds < 20", "again": 21},
            "review.again is 21: allowed is a whole number from 0 to 20",
        ),
    ],
)
def test_a_review_that_cannot_be_read_is_refused(review, words: str) -> None:
    """With its place, before anything is sent."""
    with pytest.raises(InvalidDocument) as caught:
        parse_sweep({"prompt": "x", "review": review}, Path())
    assert words in str(caught.value)
