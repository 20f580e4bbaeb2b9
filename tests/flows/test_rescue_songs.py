"""The flow rescue-songs, and the hook of cancelled and crashed runs that prepares for it."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from blocks import SongLibrary
from flows.generate import generate_song
from flows.hooks import let_go, library_of_run
from flows.rescue import rescue_songs
from songflow.errors import StillRunning, UnsettledTwin
from songflow.generation.rescue import Rescued
from songflow.ledger.lease import Lease, ProcessIdentity
from songflow.ledger.states import State
from songflow.library.library import Library
from songflow.settings import LibrarySettings
from tasks.ui.players import Players
from tasks.ui.rescue_page import rescue_page

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect")]

ROOT = Path(__file__).parents[2]
SLOWER = {"speed": 20.0}
ELSEWHERE = ProcessIdentity("another-host", "another-boot", 1, "1")


async def accepted(here, key):
    """The submission of a key, once the ledger has the gateway's id."""
    async with asyncio.timeout(180):
        while True:
            submissions, _songs = await here.ledger(key)
            if submissions and submissions[0].generation_id:
                return submissions[0]
            await asyncio.sleep(0.05)


async def held_elsewhere(here, submission):
    """A lease of another machine on a submission, valid for an hour."""
    async with Library(here.library.get_settings()) as library:
        lease = replace(Lease.take(3600), owner=ELSEWHERE)
        await library.ledger.submissions.hold(submission.id, lease)


@pytest.fixture
def no_bar(monkeypatch):
    """A cancellation then happens between two polls, not during a request of Prefect's client."""

    async def nothing(*_):
        return None

    monkeypatch.setattr("tasks.ui.progress.ProgressBar.update", nothing)


async def cancelled(here, prompt="cancelled"):
    """Cancel a run while its generation is running; returns its submission."""
    running = asyncio.create_task(generate_song(prompt, safety={"key": "k"}, **here.options))
    submission = await accepted(here, "k")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    return submission


@pytest.mark.usefixtures("no_bar")
async def test_the_generation_of_a_cancelled_run_is_collected_and_billed_once(studio, prefect_server):
    """The flow returns rows, publishes a page with players of what it collected, and finds nothing the next time."""
    here = studio(**SLOWER)
    submission = await cancelled(here)
    found = await rescue_songs(library=here.library, credentials=here.credentials, deadline=60.0)
    [row] = found
    assert isinstance(row, Rescued)
    assert (row.key, row.state, row.error, row.exit_code) == ("k", "succeeded", None, 0)
    assert all(Path(song.path).is_file() for song in row.songs)
    runs = await prefect_server.flow_runs("collect what is stranded")
    assert "2 songs of 1 generation collected" in [run.state.message for run in runs]
    pages = [page for run in runs for page in await prefect_server.artifacts(run.id, "markdown")]
    [page] = [page for page in pages if submission.generation_id.replace("-", "\\-") in page]
    assert page.count("<audio ") == len(row.songs) == 2
    assert await rescue_songs(library=here.library, credentials=here.credentials) == []
    assert here.billed == 1


@pytest.mark.usefixtures("prefect_server")
async def test_unknown_outcomes_are_listed_and_never_paid(studio):
    """With the error and the next step for a person; the gateway receives no second request."""
    here = studio({"fault": "lost_answer"})
    with pytest.raises(Exception, match="may have been billed"):
        await generate_song("lost", safety={"key": "k"}, **here.options)
    [row] = await rescue_songs(library=here.library)
    assert (row.state, row.billed, row.exit_code) == ("unknown", "maybe", 5)
    assert "rescue" in row.next
    assert here.simulator.gateway.traffic.posts == 1


@pytest.mark.usefixtures("no_bar")
async def test_a_cancelled_run_releases_its_lease_and_logs_what_is_running(studio, prefect_server):
    """The hook runs in the run's process; a new run of the same request reports the unsettled one."""
    here = studio({"fault": "unknown_for_ever", "times": None})
    submission = await cancelled(here, "let go")
    assert submission.runs.flow_run_id
    with pytest.raises(UnsettledTwin, match=submission.generation_id):
        await generate_song("let go", safety={"key": "another"}, **here.options)
    log = await prefect_server.logs(submission.runs.flow_run_id)
    assert "Still running at the gateway: the key 'k'" in log
    assert submission.generation_id in log
    assert here.billed == 1


@pytest.mark.parametrize("stored", ["unsaved", "saved", "reference"])
async def test_the_hook_releases_the_lease_of_another_machine(studio, prefect_server, stored):
    """It uses only what Prefect stored of the run; the dead machine's lease would last for an hour."""
    here = studio({"fault": "unknown_for_ever", "times": None})
    library = here.library
    if stored != "unsaved":
        document = await library.asave("hooks", overwrite=True)
        library = await SongLibrary.aload("hooks")
    if stored == "reference":
        library = {"$ref": {"block_document_id": str(document)}}
    options = here.options | {"library": library}
    with pytest.raises(StillRunning):
        await generate_song(
            "held", safety={"key": "k"}, **options | {"waiting": {"poll_interval": 0.1, "deadline": 0.2}}
        )
    [submission], _songs = await here.ledger("k")
    await held_elsewhere(here, submission)
    run = await prefect_server.flow_run(submission.runs.flow_run_id)
    assert ("$ref" in run.parameters["library"]) == (stored == "reference")
    await let_go(generate_song, run, run.state)
    [after], _songs = await here.ledger("k")
    assert after.lease.is_dead()
    assert after.state is State.OVERDUE
    assert "Still running at the gateway: the key 'k'" in await prefect_server.logs(run.id)
    with pytest.raises(UnsettledTwin):
        await generate_song("held", safety={"key": "another"}, **options)
    assert here.billed == 1


async def test_the_hook_logs_nothing_about_collected_songs_and_creates_no_library(
    studio, prefect_server, tmp_path
):
    """It does not fail if it finds nothing, or a library that cannot be used."""
    here = studio()
    result = await generate_song("collected", **here.options)
    [submission], _songs = await here.ledger(result.key)
    run = await prefect_server.flow_run(submission.runs.flow_run_id)
    await let_go(generate_song, run, run.state)
    nowhere = run.model_copy(update={"parameters": {"library": {"folder": str(tmp_path / "none")}}})
    await let_go(generate_song, nowhere, run.state)
    assert not (tmp_path / "none").exists()
    assert "billed (" not in await prefect_server.logs(run.id)
    for odd in ({"$ref": {"block_document_id": str(uuid4())}}, {"covers": True}):
        await let_go(generate_song, run.model_copy(update={"parameters": {"library": odd}}), run.state)
    log = await prefect_server.logs(run.id)
    assert log.count("cannot be read from its library") == 2


async def test_a_ledger_url_that_prefect_has_masked_is_read_from_the_environment(monkeypatch):
    """A masked password cannot be used."""
    monkeypatch.setenv("SONGFLOW_LEDGER_URL", "postgresql://here")
    stars = await library_of_run({"library": {"folder": "/songs", "ledger_url": "**********", "budget": 3.0}})
    assert (stars.folder, stars.ledger_url, stars.budget) == (Path("/songs"), "postgresql://here", 3.0)
    assert (await library_of_run({})) == LibrarySettings.from_environment()


def test_the_page_of_a_rescue_shows_text_as_text():
    """Text of a gateway's error becomes neither a link nor HTML."""
    row = Rescued(
        "<b>", 1, None, "custom", "http://x", "env:X", "unknown", "maybe", 1.0, "now", error="[x](y) | <i>"
    )
    page = rescue_page([row], {}, Players(), "units")
    assert "<" not in page
    assert "\\[x\\]\\(y\\) \\| &lt;i&gt;" in page


SERVE = """\
import asyncio
from prefect.runner import Runner
from prefect.deployments.runner import RunnerDeployment
from flows.generate import generate_song

async def main():
    runner = Runner(name="test", query_seconds=1)
    await runner.add_deployment(RunnerDeployment.from_flow(generate_song, name="hooked"))
    await runner.start()

asyncio.run(main())
"""


@asynccontextmanager
async def served_run(here, prefect_server, program, folder):
    """A run of a served flow, in a process whose runner cancels it on Prefect's request."""
    process = await program(
        *("-c", SERVE),
        quiet=True,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PREFECT_API_URL": prefect_server.url,
            "PREFECT_HOME": str(folder / "runner"),
        },
    )
    try:
        parameters = {
            "prompt": "hooked",
            "safety": {"key": "k"},
            "account": {"gateway": "simulator", "base_url": here.simulator.url},
            "library": {"folder": here.library.folder},
        }
        yield await prefect_server.start("generate-song/hooked", parameters)
    finally:
        process.terminate()
        await process.wait()


async def test_the_hook_releases_a_run_that_its_runner_killed(studio, prefect_server, program, tmp_path):
    """End to end: the run of a served flow is cancelled in Prefect, and the runner's process calls the hook."""
    here = studio({"fault": "unknown_for_ever", "times": None})
    async with served_run(here, prefect_server, program, tmp_path) as run:
        await accepted(here, "k")
        await prefect_server.cancel(run)
        async with asyncio.timeout(180):
            # Logs are read from a server, which gives no events.
            while "Still running at the gateway" not in await prefect_server.logs(run):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
    [after], _songs = await here.ledger("k")
    assert after.lease.is_dead()
    assert here.billed == 1
