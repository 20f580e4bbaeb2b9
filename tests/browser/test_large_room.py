"""The listening room's page on 2,000 songs, some hostile: few nodes, and a place that reloads and links restore."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.async_api import Page, expect
from support.browser import in_its_loop
from support.reader import Service

from benchmarks.library import fill

pytestmark = [pytest.mark.browser, in_its_loop, pytest.mark.timeout(300)]

SONGS = 2000
HOSTILE = "<img src=x onerror=document.title='hurt'></h2><script>document.title='hurt'</script>"


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[str]:
    """The address of a room of 2,000 songs, whose newest ones have hostile texts."""
    library = tmp_path / "songs"
    library.mkdir()
    await asyncio.to_thread(fill, library, SONGS)
    with closing(sqlite3.connect(library / "ledger.sqlite")) as ledger:
        ledger.execute(
            "UPDATE songs SET title = ?1, lyrics = ?1, tags = json_array(?1), error = ?1, note = ?1, "
            "song_id = ?1 || id WHERE id > ?2",
            (HOSTILE, SONGS - 2),
        )
        ledger.commit()
    command = ("songflow", "listen", "--library", "songs", "--port", "0")
    with Service(command, tmp_path, r"The listening room is open at (\S+)") as service:
        yield service.found


async def test_a_large_library_is_a_window_with_a_place(room: str, page: Page) -> None:
    """Its scrollbar is that of all songs; hostile texts are texts; another site's form changes nothing."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(room)
    await expect(page.locator("h2").first).to_have_text(HOSTILE)
    await expect(page.locator("#count")).to_have_text("2000 of 2000 songs")
    assert await page.locator("*").count() < 1000

    await page.evaluate("document.getElementById('songs').scrollTop = 1e9")
    await expect(page.locator(f"[aria-posinset='{SONGS}'] h2")).to_have_text("Harbour Waltz 1")
    await page.locator("#find").fill("waltz 19")
    await expect(page.locator("#count")).to_have_text("132 of 2000 songs")
    await page.locator("#order").select_option("title")
    await expect(page.locator("[aria-posinset='2'] h2")).to_have_text("Harbour Waltz 19")

    await page.evaluate("document.getElementById('songs').scrollTop = 6000")
    await expect(page).to_have_url(re.compile(r"/\?find=waltz\+19&order=title&at=\d+$"))
    top = page.locator(f"[aria-posinset='{int(page.url.rpartition('=')[2]) + 1}']")
    shown = await top.locator("h2").text_content()
    await page.reload()
    await expect(top.locator("h2")).to_have_text(str(shown))
    await expect(top).to_be_in_viewport()
    await expect(page.locator("#find")).to_have_value("waltz 19")
    assert await page.locator("*").count() < 1000
    # A link to a song that the search does not find takes the filters away.
    await page.evaluate("location.hash = 'song-3'")
    await expect(page.locator("article.shown h2")).to_have_text("Harbour Waltz 2")
    await expect(page.locator("article.shown")).to_be_in_viewport()

    await page.locator("#more summary").click()
    await page.locator("#choices [name='request.seed_from']").fill("998")
    await page.keyboard.press("Enter")
    await expect(page.locator("#count")).to_have_text("4 of 2000 songs")
    await page.locator(".title").first.click()
    await expect(page.locator("#about h2, #about .lyrics")).to_have_text([HOSTILE, HOSTILE])
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Clear").click()
    await expect(page.locator("#count")).to_have_text("2000 of 2000 songs")
    assert (complaints, await page.title()) == ([], "Songflow listening room")

    await page.goto("about:blank")
    async with page.expect_response(lambda answer: "/comparisons" in answer.url) as refused:
        await page.set_content(
            f"<form method=post action='{room}/comparisons'><input name=winner value=1></form>"
            "<script>document.forms[0].submit()</script>"
        )
    assert (await refused.value).status == 403
