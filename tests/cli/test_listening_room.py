"""`songflow listen` in a real browser: play a song, compare its takes, and rate one."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-quic", "--disable-background-networking"]


def until(page: Page, holds: Callable[[], bool]) -> None:
    """Poll a condition, since the page's policy forbids Playwright's own waiting; the test's timeout ends it."""
    while not holds():
        page.wait_for_timeout(50)


def heard(page: Page) -> float:
    """The player's position in seconds."""
    return float(page.evaluate("document.querySelector('audio').currentTime"))


@pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("SONGFLOW_REQUIRE_SERVICES"), reason="no Chromium here"
)
def test_songs_are_played_compared_and_rated(shell: Any, gateways: Any, to: Any, tmp_path: Path) -> None:
    """The rating is in the manifest, hostile titles stay text, and the page's policy is never violated."""
    options = to(gateways({"fault": "hostile_titles", "times": None}, clip_seconds=6.0))
    made = shell.run("generate", "<img src=x onerror=alert(1)> waltz", *options).json["songs"]
    process = shell.start("listen", "--port", "0", "--json")
    url = json.loads(process.stdout.readline())["url"]
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport={"width": 1000, "height": 700})
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.goto(url)
        expect(page.locator("article")).to_have_count(2)
        expect(page.locator(".prompt").first).to_have_text("<img src=x onerror=alert(1)> waltz")
        page.locator(".play").first.click()
        until(page, lambda: heard(page) > 0.3)
        before = heard(page)
        page.get_by_role("button", name="Other take").click()
        expect(page.locator("article.playing")).to_contain_text("take 2")
        until(page, lambda: heard(page) > before)
        page.locator("article").nth(1).get_by_role("button", name="4 of 5").click()
        expect(page.locator("article").nth(1).locator("[aria-pressed=true]")).to_have_count(4)
        page.get_by_label("Rated at least").select_option("4")
        expect(page.locator("article")).to_have_count(1)
        expect(page.locator("#count")).to_have_text("1 of 2 songs")
        page.keyboard.press("v")
        expect(page.locator(".side.playing h3")).to_have_text("A")
        page.keyboard.press("w")
        expect(page.locator(".parameters")).to_contain_text("<img src=x onerror=alert(1)> waltz")
        page.keyboard.press("l")
        expect(page.locator(".price")).to_contain_text("It costs")
        page.screenshot(path=tmp_path / "room.png")
        browser.close()
    assert complaints == []
    rows = {row["song_id"]: row["rating"] for row in shell.run("songs", "--json").json["songs"]}
    assert rows == {made[0]["song_id"]: None, made[1]["song_id"]: 4}
    process.send_signal(signal.SIGINT)
    assert shell.end(process).code == 0


def test_a_room_that_cannot_be_opened_says_why(shell: Any, gateways: Any) -> None:
    """No library, an invalid port, a port in use, a ledger that is none."""
    assert "There is no library" in shell.run("listen", "--json").json["error"]
    assert not shell.library.exists()
    assert shell.run("pause").code == 0
    assert "--port is 70000" in shell.run("listen", "--port", "70000", "--json").json["error"]
    taken = shell.run("listen", "--port", gateways().url.rpartition(":")[2], "--json")
    assert (taken.code, "choose another --port" in taken.json["next"]) == (2, True)
    (shell.library / "ledger.sqlite").write_bytes(b"junk" * 5_000)
    looked, listened = shell.run("songs", "--json"), shell.run("listen", "--port", "0", "--json")
    assert (listened.code, listened.json) == (looked.code, looked.json)
    assert "Traceback" not in listened.err
