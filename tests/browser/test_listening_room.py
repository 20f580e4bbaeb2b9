"""`songflow listen` in a real browser: play a song, compare its takes, follow an extension to its source, rate.

The README's picture is this test's screenshot; SONGFLOW_SCREENSHOTS=1 draws it again (see `support.browser.images`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect
from support.browser import Images, in_its_loop
from support.reader import Service

import songflow
from songflow.simulator import SimulatorServer, SimulatorSettings

pytestmark = [pytest.mark.browser, in_its_loop, pytest.mark.timeout(300)]

PROMPTS = (
    "a fast waltz for two cellos",
    "folk, male voice, acoustic guitar, warm",
    "bright synth pop, 112 bpm, female voice",
    "a slow waltz for two cellos",
)
OPENING = "soft pads and a slow arpeggio, no drums"


@pytest.fixture
async def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The address of a listening room: four generations and an intro to the last of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_HK_KEY", "sk-of-the-listening-room")
    settings = SimulatorSettings(speed=200.0, clip_seconds=9.0, state_dir=tmp_path / "gateway")
    with SimulatorServer(settings) as gateway:
        account = {"gateway": "openai-hk", "base_url": gateway.url}
        place = {"account": account, "library": "songs", "waiting": {"poll_interval": 0.1}}
        for number, prompt in enumerate(PROMPTS):
            made = await songflow.generate(prompt, seed=number + 1, lyrics_type="instrumental", **place)
        source = made.songs[0].song_id
        await songflow.extend(str(source), place="intro", prompt=OPENING, **place)
    command = ("songflow", "listen", "--library", "songs", "--port", "0")
    with Service(command, tmp_path, r"The listening room is open at (\S+)") as service:
        yield service.found


async def test_songs_are_played_compared_and_rated(room: str, page: Page, images: Images) -> None:
    """Ratings are on the disk: they are there again after a reload."""
    await page.goto(room)
    await expect(page.locator("article")).to_have_count(2 * (len(PROMPTS) + 1))
    for place, stars in ((2, 5), (3, 3), (4, 4), (5, 2), (0, 5)):
        song = page.locator("article").nth(place)
        stored = page.expect_response(lambda answer: "/rating" in answer.url)
        async with stored:
            await song.get_by_role("button", name=f"{stars} of 5").click()
    await page.reload()
    await expect(page.locator('article [aria-pressed="true"]')).to_have_count(5 + 3 + 4 + 2 + 5)

    await page.locator("article").nth(2).locator("button.play").click()
    await expect(page.locator("#playing")).to_contain_text("(take 1)")
    audio = page.locator("#audio")
    await expect(audio).not_to_have_js_property("currentTime", 0)
    await page.get_by_role("button", name="Other take").click()
    await expect(page.locator("#playing")).to_contain_text("(take 2)")
    await expect(audio).not_to_have_js_property("currentTime", 0)  # it goes on where the first take was
    await audio.evaluate("(player) => player.pause()")
    await audio.evaluate("(player) => { player.currentTime = 7 }")
    await expect(audio).to_have_js_property("currentTime", 7)
    await expect(page.locator("#trouble")).to_be_hidden()
    # The picture shows a library's usual folder, not the test's temporary one.
    await page.locator("#library").evaluate("(shown) => { shown.textContent = './songs' }")
    await images.take(page, "listen.png")

    await page.locator("article").first.get_by_role("link").click()
    await expect(page.locator("article.shown")).to_contain_text(PROMPTS[-1])
    await page.locator("#order").select_option("rating")
    await expect(page.locator("article").first.locator('[aria-pressed="true"]')).to_have_count(5)

    # A link from elsewhere to one song, such as those of the pages in Prefect's UI.
    linked = await page.locator("article").nth(3).get_attribute("id")
    await page.goto("about:blank")
    await page.goto(f"{room}/#{linked}")
    await expect(page.locator("article.shown")).to_have_id(str(linked))
    await expect(page.locator("article.shown")).to_be_in_viewport()
