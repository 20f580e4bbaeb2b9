"""Tasks without the flow: each opens what it needs, and trouble with Prefect's API loses no song."""

from __future__ import annotations

import pytest
from prefect import flow
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from songflow.errors import StillRunning
from songflow.families.udio import SongRequest
from songflow.generation.session_settings import SessionSettings
from tasks.download import download
from tasks.record import record
from tasks.sessions import open_session
from tasks.submit import submit
from tasks.ui import progress
from tasks.ui.progress import ProgressBar, guess
from tasks.wait import wait

pytestmark = [
    pytest.mark.prefect,
    pytest.mark.xdist_group("prefect"),
    pytest.mark.usefixtures("prefect_server"),
]

REQUEST = SongRequest(prompt="by hand")
QUICK = SessionSettings(poll_interval=0.1)


async def test_the_tasks_one_after_the_other_make_songs(studio):
    here = studio()
    where = {"library": here.library, "settings": QUICK}
    submission = await submit(REQUEST, here.credentials, key="k", **where)
    songs = await wait(submission, here.credentials, **where)
    stored = [await download(song, submission, here.credentials, **where) for song in songs]
    result = await record(submission, **where)
    assert [song.path for song in stored] == [song.path for song in result.stored]
    assert len(result.stored) == 2
    assert here.billed == 1


async def test_the_account_is_found_by_its_alias_where_none_is_given(studio):
    here = studio()
    await here.credentials.asave("by-alias", overwrite=True)
    saved = await type(here.credentials).aload("by-alias")
    where = {"library": here.library, "settings": QUICK}
    submission = await submit(REQUEST, saved, key="k", **where)
    assert len(await wait(submission, **where)) == 2


async def test_a_deadline_is_not_retried_and_says_that_it_still_runs(studio):
    here = studio(speed=1.0)
    settings = SessionSettings(poll_interval=0.1, deadline=0.3)

    @flow
    async def parent():
        submission = await submit(REQUEST, here.credentials, key="k", library=here.library, settings=settings)
        await wait(submission, here.credentials, library=here.library, settings=settings)

    with pytest.raises(StillRunning, match=r"still runs at simulator .*is billed.*Request key k"):
        await parent()
    [submission], _songs = await here.ledger("k")
    assert submission.state == "overdue"
    assert here.billed == 1


async def test_tasks_share_an_open_session_where_it_fits(studio):
    here = studio()
    async with open_session(here.library, QUICK) as outer:
        async with open_session() as same, open_session(here.library) as also:
            assert same is also is outer
        async with open_session(here.library, SessionSettings(deadline=9.0)) as other:
            assert other is not outer


async def test_a_progress_bar_without_an_api_gives_up_quietly(monkeypatch, caplog):
    monkeypatch.setattr(progress, "_PATIENCE_SECONDS", 1.0)
    bar = ProgressBar("a song")
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}):
        await bar.update("running", None, 3.0)
        await bar.update("running", 0.5, 4.0)
        await bar.finish()
    assert caplog.text.count("The progress cannot be shown") == 1


def test_the_guess_grows_and_never_ends():
    assert [round(guess(seconds), 2) for seconds in (0, 54, 540, 54_000)] == [0, 0.5, 0.91, 1.0]
    assert guess(1e6) < 1
