"""Choose a take in a real browser: the form of the paused run, invalid answers, and the song that continues."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import expect
from support.browser import click_option, in_its_loop
from support.pauses import paused_run

from flows.song import make_song

pytestmark = [
    pytest.mark.browser,
    in_its_loop,
    pytest.mark.prefect,
    pytest.mark.xdist_group("prefect-ui"),
    pytest.mark.timeout(400),
]

RECIPE = {
    "name": "A song to choose from",
    "core": {"prompt": "a slow waltz for two cellos", "take": "ask"},
    "steps": [{"name": "outro", "place": "outro", "lyrics_type": "instrumental"}],
}


async def test_an_invalid_choice_is_refused_and_a_valid_one_is_extended_once(
    studio, prefect_server, page, images, beside
):
    """The form refuses two answers with the reason; the ledger and the bill show that the chosen take was extended."""
    here = studio()
    making = beside(make_song(RECIPE, safety={"key": "asked"}, **here.options))
    run = await paused_run(prefect_server, making, RECIPE["name"])
    _, songs = await here.ledger("asked:core")

    await page.goto(f"{prefect_server.ui}/v2/runs/flow-run/{run.id}")
    await page.get_by_role("button", name="Open menu").first.click()
    await page.get_by_role("menuitem", name="Resume").click()
    form = page.get_by_role("dialog")
    await expect(form.get_by_text("Which take of core shall the song go on with?")).to_be_visible()
    for song in songs:
        row = form.get_by_role("row").filter(has_text=song.title)
        await expect(row).to_contain_text(f"{song.seconds:.1f} s")
        await expect(row).to_contain_text(f"{song.rms_db:.1f} dBFS")
        await expect(row.get_by_role("link", name="listen")).to_have_attribute("href", song.song_url)
    heard = await page.request.get(songs[1].song_url)
    assert (heard.status, heard.headers["content-type"]) == (200, "audio/mpeg")

    # Nothing chosen, then something that is no choice: both refused, and the run still waits.
    await form.get_by_role("button", name="Resume").click()
    await expect(page.get_by_text("'choice' is a required property")).to_be_visible()
    await form.get_by_role("button", name="Open menu").click()
    await page.get_by_role("menuitem", name="Use JSON Input").click()
    await form.locator(".cm-content").click()
    await page.keyboard.type('"take 9"')
    await form.get_by_role("button", name="Resume").click()
    await expect(page.get_by_text("'take 9' is not one of ['take 1', 'take 2'")).to_be_visible()
    assert (await prefect_server.flow_run(run.id)).state.is_paused()
    assert here.billed == 1

    await form.get_by_role("button", name="Open menu").click()
    await page.get_by_role("menuitem", name="Use Form Input").click()
    await click_option(page, form.get_by_role("button", name="Select Choice"), "take 2")
    await form.get_by_text("Which take of core").scroll_into_view_if_needed()
    await images.take(page, "ask.png", clip={"x": 255, "y": 60, "width": 600, "height": 680})
    async with page.expect_response(lambda answer: answer.url.endswith("/resume")) as resumed:
        await form.get_by_role("button", name="Resume").click()
    assert (await resumed.value).ok
    await page.goto("about:blank")  # the page of the run asks and draws all the time

    whole = await asyncio.wait_for(making, 120)
    chosen = songs[1].song_id
    assert whole.steps[0].chosen_by == "a person in Prefect"
    [extension] = (await here.ledger("asked:outro"))[1][:1]
    assert extension.parent_song_id == chosen
    bill = [entry.body["gen_params"]["config"] for entry in here.simulator.bill()]
    assert [config.get("source", {}).get("song_id") for config in bill] == [None, chosen]
    assert (await prefect_server.flow_run(run.id)).state.is_completed()
