"""Hear songs in Prefect's UI in a real browser: on the pages of songs, sweeps and rescues, and in a paused run's form.

Prefect's V1 UI plays them. Its V2 UI shows the pictures and a link to the V1 UI. SONGFLOW_SCREENSHOTS=1 draws the
documents' pictures again (see `support.browser.images`).
"""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import expect
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey
from support.browser import in_its_loop
from support.pauses import paused_run

from flows.extend import extend_song
from flows.generate import generate_song
from flows.rescue import rescue_songs
from flows.song import make_song
from flows.sweep import sweep
from songflow.errors import StillRunning
from tasks.ui.markdown import artifact_key

pytestmark = [
    pytest.mark.browser,
    in_its_loop,
    pytest.mark.prefect,
    pytest.mark.xdist_group("prefect-ui"),
    pytest.mark.timeout(400),
]

ROOM = "http://127.0.0.1:8766"
RECIPE = {
    "name": "Heard before it goes on",
    "core": {"prompt": "a slow waltz for two cellos", "take": "ask"},
    "steps": [{"name": "outro", "place": "outro", "lyrics_type": "instrumental"}],
}
SWEEP = {"prompt": "a fast waltz", "grid": {"seed": [1, 2]}}
TIDY = """folder => {
  document.body.normalize();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(folder, "/home/me");
}"""
BROKEN = "pictures => pictures.filter(one => !one.complete || !one.naturalWidth).length"


async def artifact(key: str) -> str:
    """The id of a key's newest artifact."""
    async with get_client() as client:
        [found] = await client.read_latest_artifacts(
            artifact_filter=ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=[key]))
        )
    return str(found.latest_id)


async def check_sound(where, players: int) -> None:
    """Every player plays when somebody presses its button, one after the other, and no picture is broken."""
    audio = where.locator("audio")
    await expect(audio).to_have_count(players)
    for player in await audio.all():
        await player.focus()
        await player.press("Space")
        await expect(player).not_to_have_js_property("currentTime", 0)
        await player.evaluate("player => player.pause()")
        assert await player.evaluate("player => player.error") is None
    await check_pictures(where, players)


async def picture(page, here, images, name) -> None:
    """Draw a page from its top for the documents, with a library's usual folder for the test's temporary one."""
    await page.get_by_role("heading").first.scroll_into_view_if_needed()
    await page.evaluate(TIDY, str(here.folder))
    await page.mouse.click(5, 400)  # no focus on a player
    await images.take(page, name)


async def check_pictures(where, waveforms: int) -> None:
    """A waveform and a cover for each player, none of them broken."""
    for kind in ("Waveform", "Cover"):
        pictures = where.get_by_alt_text(kind)
        await expect(pictures).to_have_count(waveforms)
        assert await pictures.evaluate_all(BROKEN) == 0


async def check_report(page, server) -> None:
    """The pictures of a report are on its page, in both UIs."""
    found = await artifact("report-heard-0040953a")
    for ui in ("/v2", ""):
        await page.goto(f"{server.ui}{ui}/artifacts/artifact/{found}")
        pictures = page.locator("img[src^='data:image/png']")
        await expect(pictures).to_have_count(2)
        assert await pictures.evaluate_all(BROKEN) == 0


async def test_the_pages_of_songs_play_them(studio, prefect_server, page, images, monkeypatch):
    """Of a generation, an extension, a sweep and a rescue, with links into the listening room."""
    monkeypatch.setenv("SONGFLOW_ROOM_URL", ROOM)
    monkeypatch.setenv("SONGFLOW_PREVIEW_SECONDS", "4")
    here = studio(clip_seconds=6.0)
    made = await generate_song("a harbour at dawn", **here.options)
    longer = await extend_song(made.songs[0].song_id, place="intro", prompt="soft pads", **here.options)
    await sweep(SWEEP, name="heard", **here.options)
    with pytest.raises(StillRunning):
        await generate_song(
            "left behind", safety={"key": "left"}, **here.options | {"waiting": {"deadline": 0.0}}
        )
    [rescued] = await rescue_songs(library=here.library, credentials=here.credentials, deadline=60.0)
    assert rescued.error is None

    _, songs = await here.ledger(made.key)
    pages = {
        "song": artifact_key(made.key, "a harbour at dawn"),
        "extension": artifact_key(longer.key, "soft pads"),
        "sweep": "sweep-heard-0040953a",
        "rescue": "rescue",
    }
    for name, key in pages.items():
        await page.goto(f"{prefect_server.ui}/artifacts/artifact/{await artifact(key)}")
        await check_sound(page, 2)
        await expect(page.get_by_role("link", name="hear it whole, rate it")).to_have_count(2)
        if name in ("extension", "sweep"):
            await picture(page, here, images, f"page-{name}.png")

    await check_report(page, prefect_server)
    await picture(page, here, images, "page-report.png")

    # Prefect's V2 UI has no players, but leads to them.
    await page.goto(f"{prefect_server.ui}/v2/artifacts/artifact/{await artifact(pages['song'])}")
    await check_pictures(page, 2)
    room = page.get_by_role("link", name="hear it whole, rate it")
    await expect(room.first).to_have_attribute("href", f"{ROOM}/#song-{songs[0].id}")
    await page.get_by_role("link", name="To play it, open this in Prefect's V1 UI").first.click()
    await page.get_by_role("link", name=(await artifact(pages["song"]))[:8]).click()
    await check_sound(page, 2)


async def test_a_paused_run_plays_the_takes_to_choose_from(studio, prefect_server, page, images, beside):
    """The form in the V1 UI plays them, to which the one in the V2 UI leads; then the whole song's page does."""
    here = studio(clip_seconds=4.0)
    making = beside(make_song(RECIPE, safety={"key": "heard"}, **here.options))
    run = await paused_run(prefect_server, making, RECIPE["name"])
    await page.goto(f"{prefect_server.ui}/v2/runs/flow-run/{run.id}")
    await page.get_by_role("button", name="Open menu").first.click()
    await page.get_by_role("menuitem", name="Resume").click()
    await check_pictures(page.get_by_role("dialog"), 2)
    await page.get_by_role("dialog").get_by_role("link", name="open this in Prefect's V1 UI").first.click()
    await page.get_by_role("button", name="Resume").click()
    form = page.get_by_role("dialog")
    await check_sound(form, 2)
    await images.take(page, "ask-v1.png")
    await page.goto("about:blank")  # the page of the run asks and draws all the time
    async with get_client() as client:
        await client.resume_flow_run(run.id, run_input={"choice": "take 1"})

    await asyncio.wait_for(making, 120)
    await page.goto(
        f"{prefect_server.ui}/artifacts/artifact/{await artifact(artifact_key('heard', RECIPE['name']))}"
    )
    await check_sound(page, 4)
    await picture(page, here, images, "page-whole-song.png")
