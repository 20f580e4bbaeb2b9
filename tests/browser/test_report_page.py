"""A report in a real browser: light and dark, on a phone and on a desk, with players that play.

The pictures in the documents are this test's screenshots (see `support.browser.images`).
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.async_api import Page, expect
from support.browser import Images, in_its_loop

from songflow.reports import make_report, write_report

pytestmark = [pytest.mark.browser, in_its_loop, pytest.mark.timeout(300)]

PROMPTS = ("a slow waltz for two cellos", "bright synth pop, 112 bpm, female voice", "x" * 300)

WIDER_THAN_THE_PAGE = """() => [...document.querySelectorAll("body, body *")]
    .filter((part) => Math.max(part.getBoundingClientRect().right - 1, part.scrollWidth) > window.innerWidth)
    .map((part) => part.outerHTML.slice(0, 200))"""
BRIGHTNESS = """(name) => getComputedStyle(document.body)[name].match(/\\d+/g).slice(0, 3)
    .reduce((sum, part) => sum + Number(part), 0) / 3"""


@pytest.fixture
def address(manifest, tmp_path: Path) -> Iterator[str]:
    """The address of a report on 48 songs, with long words and many columns."""
    music = tmp_path / "music.mp3"
    tone = 0.3 * np.sin(2 * np.pi * 330 * np.arange(5 * 22050) / 22050)
    soundfile.write(music, tone, 22050, format="MP3")
    luck = np.random.default_rng(7)
    rows = [
        {
            "path": str(music),
            "title": ("Harbour lights", "Slow water", "W" * 200)[number // 2 % 3],
            "rating": float(luck.integers(0, 6)),
            "seconds": 30.0 + number % 3,
            "rms_db": -14 + luck.normal(),
            "price": 1.0 + number // 2 % 2,
            "request.prompt": PROMPTS[number // 2 % 3],
            "request.prompt_strength": 0.25 * (number // 6 % 4),
            "request.clarity_strength": 0.25 * (number // 2 % 5),
            "request.lyrics_strength": 0.5 * (number // 4 % 2),
            "request.negative_prompt": ("drums", "")[number // 8 % 2],
            "request.generation_quality": 0.25 * (1 + number // 2 % 4),
        }
        for number in range(48)
    ]
    write_report(make_report(manifest(*rows), "Waltzes, strong and weak"), tmp_path / "report")
    handler = functools.partial(Quiet, directory=tmp_path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/report/report.html"
    server.shutdown()
    server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Log nothing."""


async def test_a_report_fits_every_screen_and_plays(address: str, page: Page, images: Images) -> None:
    """Nothing is wider than the page, text is readable in the dark, and the best cell's first take plays."""
    await page.goto(address)
    for scheme, is_dark in (("light", False), ("dark", True)):
        await page.emulate_media(color_scheme=scheme)
        assert (await page.evaluate(BRIGHTNESS, "backgroundColor") < 60) == is_dark
        assert (await page.evaluate(BRIGHTNESS, "color") > 200) == is_dark
        for width in (360, 768, 1101, 1440):
            await page.set_viewport_size({"width": width, "height": 900})
            assert await page.evaluate(WIDER_THAN_THE_PAGE) == [], (scheme, width)
    assert await page.locator("img").evaluate_all("(all) => all.every((one) => one.naturalWidth > 0)")
    await expect(page.locator(".best article")).to_have_count(6)
    player = page.locator(".best audio").first
    await player.evaluate("(audio) => audio.play()")
    await expect(player).not_to_have_js_property("currentTime", 0)
    await player.evaluate("(audio) => audio.pause()")
    await page.locator(".songs th", has_text="rating").click()
    await expect(page.locator(".songs th", has_text="rating")).to_have_attribute("aria-sort", "ascending")
    # The pictures show no hostile songs.
    await page.locator("article", has_text="WWWW").evaluate_all("(all) => all.forEach((one) => one.remove())")
    await page.locator("article", has_text="xxxx").evaluate_all("(all) => all.forEach((one) => one.remove())")
    await page.evaluate("window.scrollTo(0, 0)")
    await page.set_viewport_size({"width": 390, "height": 844})
    await images.take(page, "report-phone.png")
    await page.emulate_media(color_scheme="light")
    await page.set_viewport_size({"width": 1240, "height": 1000})
    await images.take(page, "report.png")
