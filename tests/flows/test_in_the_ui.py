"""Runs in Prefect's UI: names, readable logs, escaped artifacts, and never a key."""

from __future__ import annotations

import re

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter

from blocks import SimulatorCredentials
from flows.generate import generate_song
from tasks.ui.players import MOST_PAGE_BYTES

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect")]

HOSTILE = (
    "<img src=x onerror=alert(1)> | [x](javascript:alert(1)) `code` https://evil.example",
    "# a\n| b |",
)

# Nothing but attributes without text of a gateway.
PLAYER = re.compile(
    r'<table><tr>(<td><img alt="Cover" width="48" height="48" src="data:image/jpeg;base64,[\w+/=]+"></td>)?'
    r'<td><img alt="Waveform" width="300" height="48" src="data:image/svg\+xml;base64,[\w+/=]+"><br>'
    r'<audio controls preload="metadata" src="data:audio/mpeg;base64,[\w+/=]+">'
    r'<a href="[\w./-]+">[\w ,\']+</a></audio>[\d: a-z]*</td></tr></table>'
)


async def run_of(here, key):
    submissions, songs = await here.ledger(key)
    return submissions[0].runs.flow_run_id, songs


async def test_the_log_reports_every_step_of_a_run(studio, prefect_server):
    here = studio()
    result = await generate_song("a story", **here.options)
    run, _songs = await run_of(here, result.key)
    log = await prefect_server.logs(run)
    for line in (
        "Making songs with udio32-v1.5 at simulator",
        f"Request key: {result.key}",
        "Sending the request",
        f"Accepted as generation {result.generation_id}",
        f"Stored '{result.songs[0].title}' as {result.songs[0].path}",
        "2 of 2 songs stored",
    ):
        assert line in log
    [found] = await prefect_server.flow_runs("a story")
    assert found.state.message == "2 songs, 1 unit (simulated: nothing is billed)"
    async with get_client() as client:
        shown = await client.read_artifacts(flow_run_filter=FlowRunFilter(id={"any_": [found.id]}))
    titles = [f"download {song.title}" for song in result.songs]
    tasks = await prefect_server.task_runs(found.id, 5)
    assert tasks == sorted(["submit a story", "wait for a story", "record a story", *titles])
    texts = " ".join(f"{one.key} {one.description}" for one in shown)
    assert "a story at simulator: finished" in texts
    assert "2 songs by simulator: a story" in texts
    assert result.generation_id not in texts
    assert result.key.partition(":")[0] not in texts


async def test_the_built_in_simulator_has_no_address(prefect_server, tmp_path, monkeypatch):
    monkeypatch.setenv("SONGFLOW_LIBRARY", str(tmp_path / "songs"))
    monkeypatch.setenv("SONGFLOW_SIMULATOR_SPEED", "200")
    await generate_song("nowhere")
    [found] = await prefect_server.flow_runs("nowhere")
    log = await prefect_server.logs(found.id, until="songs stored")
    assert "at the built-in simulator, for 1 unit." in log
    assert ".invalid" not in log + " ".join(await prefect_server.artifacts(found.id))


async def test_a_run_has_a_full_progress_bar_and_a_page_of_its_songs(studio, prefect_server):
    here = studio()
    result = await generate_song("a page", **here.options)
    run, songs = await run_of(here, result.key)
    assert [float(share) for share in await prefect_server.artifacts(run, "progress")] == [100]
    [page] = await prefect_server.artifacts(run, "markdown")
    assert "2 of 2 takes are stored" in page
    assert "deployments/" not in page
    assert len(PLAYER.findall(page)) == 2
    assert len(page.encode()) < MOST_PAGE_BYTES
    for song in songs:
        assert f"[at the gateway]({song.song_url})" in page
        assert song.song_id.replace("-", "\\-") in page


async def test_titles_from_the_gateway_are_shown_as_text(studio, prefect_server):
    here = studio({"fault": "hostile_titles", "titles": HOSTILE})
    result = await generate_song("hostile", **here.options)
    run, songs = await run_of(here, result.key)
    assert {song.title for song in songs} == set(HOSTILE)
    [page] = await prefect_server.artifacts(run, "markdown")
    page = PLAYER.sub("", page)  # HTML of our own
    assert "<" not in page
    assert not re.search(r"(?<!\\)\]\((?!http://127\.0\.0\.1)", page)
    assert "https://evil" not in page
    assert all(len(re.findall(r"(?<!\\)\|", line)) in (0, 3, 7) for line in page.splitlines())


async def test_a_saved_block_is_used_by_reference_and_no_key_is_ever_shown(
    studio, prefect_server, capfd, caplog
):
    caplog.set_level("DEBUG")
    here = studio({"fault": "status", "on": "submit", "status": 429})
    saved = SimulatorCredentials(base_url=here.simulator.url, api_key=here.secret)
    document = await saved.asave("in-the-ui", overwrite=True)
    by_reference = {"$ref": {"block_document_id": str(document)}}
    result = await generate_song("by reference", **{**here.options, "credentials": by_reference})
    await generate_song("by value", **here.options)
    submissions, _songs = await here.ledger(result.key)
    assert submissions[-1].account == "block:song-simulator-credentials/in-the-ui"
    run = submissions[0].runs.flow_run_id
    shown = capfd.readouterr()
    for place in (
        await prefect_server.logs(run),
        prefect_server.dump(),
        caplog.text,
        shown.out,
        shown.err,
        *[path.read_bytes().decode("latin-1") for path in (here.folder).rglob("*") if path.is_file()],
    ):
        assert here.secret not in place
