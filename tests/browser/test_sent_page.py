"""A page that was sent to somebody, opened as a file: heard, judged, saved; and what was saved is taken in once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.async_api import Download, Page, expect
from support.browser import in_its_loop

import songflow
from songflow.catalog.judgement_file import read_judgement_file
from songflow.catalog.judgement_import import take_in
from songflow.catalog.manifest import read_manifest
from songflow.library.library import Library
from songflow.listening.sending import export_page, waveforms_of
from songflow.settings import LibrarySettings
from songflow.simulator import SimulatorServer, SimulatorSettings

pytestmark = [pytest.mark.browser, in_its_loop, pytest.mark.timeout(300)]

HOSTILE = "<img src=x onerror=\"document.title='run'\"></script>"
_CHECKS = Path(__file__).parent / "checks"
UNUSABLE, PALE = ((_CHECKS / name).read_text() for name in ("usable.js", "contrast.js"))


@pytest.fixture
async def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LibrarySettings:
    """Two generations, exported to the folder `sent`; one has a hostile prompt."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_HK_KEY", "sk-of-the-sent-page")
    quick = SimulatorSettings(speed=200.0, clip_seconds=2.0, state_dir=tmp_path / "gateway")
    with SimulatorServer(quick) as gateway:
        account = {"gateway": "openai-hk", "base_url": gateway.url}
        for prompt in ("a slow waltz for two cellos", f"{HOSTILE} polka"):
            await songflow.generate(
                prompt,
                lyrics_type="instrumental",
                account=account,
                library="songs",
                waiting={"poll_interval": 0.1},
            )
    settings = LibrarySettings.from_environment(tmp_path / "songs")
    async with Library(settings) as opened:
        frame = await read_manifest(opened.ledger)
        export_page(frame, tmp_path / "sent", waveforms=await waveforms_of(opened.ledger))
    return settings


async def test_somebody_hears_and_judges(library: LibrarySettings, page: Page, tmp_path: Path) -> None:
    """Without a server; a reload keeps what was judged, and taking it in twice is the same as once."""
    complaints: list[str] = []
    page.on(
        "console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto((tmp_path / "sent" / "index.html").as_uri())
    await expect(page.locator("#count")).to_have_text("4 of 4 songs")
    await _hear(page)
    await _judge(page)
    await page.reload()
    await expect(page.locator("#kept")).to_have_text("4 judged, 0 saved.")
    await expect(page.locator("article .star[aria-pressed=true]")).to_have_count(4)
    first, second = await _save(page), await _save(page)
    await expect(page.locator("#kept")).to_have_text("4 judged, all saved.")
    await first.save_as(tmp_path / "first.json")
    await second.save_as(tmp_path / "second.json")
    assert first.suggested_filename == "ratings-Ann-O-Neill.json"
    assert (tmp_path / "first.json").read_bytes() == (tmp_path / "second.json").read_bytes()
    await _taken_in_twice(library, tmp_path)
    await _looks(page, tmp_path)
    await _judgements_on_a_private_page_change(library, page, tmp_path)
    assert (complaints, await page.title() == "run") == ([], False)


async def _hear(page: Page) -> None:
    await page.locator("#find").fill("POLKA")
    await expect(page.locator("article")).to_have_count(2)
    await expect(page.locator("article .prompt").first).to_have_text(f"{HOSTILE} polka")
    await page.locator("article button.play").first.click()
    await page.wait_for_function("() => document.querySelector('#audio').currentTime > 0.2")
    await page.locator("#songs").focus()
    await page.keyboard.press("Space")
    await page.keyboard.press("Home")
    assert await page.locator("#audio").evaluate("(audio) => [audio.paused, audio.currentTime]") == [True, 0]
    await expect(page.locator("#playing")).to_contain_text("(take 1)")
    await page.keyboard.press("t")
    await expect(page.locator("#playing")).to_contain_text("(take 2)")
    await page.locator("article .title").first.click()
    await expect(page.locator("#about tr", has_text="prompt").locator("td")).to_have_text(f"{HOSTILE} polka")
    await page.keyboard.press("Escape")
    await page.locator("#find").fill("")
    await expect(page.locator("article")).to_have_count(4)


async def _judge(page: Page) -> None:
    """Stars by a key, keep by a click, notes; and one rating that is taken back before anybody saw it."""
    await page.locator("#songs").focus()
    await page.keyboard.press("4")
    await expect(page.locator("#player .star[aria-pressed=true]")).to_have_count(4)
    await page.locator("article.playing").get_by_role("button", name="Keep").click()
    await page.keyboard.press("n")
    await page.locator("#notes-field").fill(HOSTILE)
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.locator("article.playing .note")).to_have_text(HOSTILE)
    other = page.locator("article:not(.playing)").first
    await other.get_by_role("button", name="Discard").click()
    await other.get_by_role("button", name="2 of 5").click()
    await page.locator("#songs").focus()
    await page.keyboard.press("u")
    await expect(other.locator(".star[aria-pressed=true]")).to_have_count(0)
    await page.locator("#least").select_option("3")
    await expect(page.locator("#count")).to_have_text("1 of 4 songs")
    await page.locator("#least").select_option("")


async def _save(page: Page) -> Download:
    """The file that is downloaded; the name is asked for once."""
    if not await page.locator("#person").input_value():
        await page.locator("#save").click()
        await expect(page.locator("#trouble")).to_contain_text("Write your name first")
        await page.locator("#person").fill("Ann O'Neill")
    async with page.expect_download() as saved:
        await page.locator("#save").click()
    return await saved.value


async def _taken_in_twice(library: LibrarySettings, folder: Path) -> None:
    said = json.loads((folder / "first.json").read_text())
    assert sorted((one["kind"], one["value"]) for one in said["judgements"]) == [
        ("decision", "discard"), ("decision", "keep"), ("notes", HOSTILE), ("rating", 4),
    ]  # fmt: skip
    async with Library(library) as opened:
        rows = []
        for name, new in (("first", 4), ("second", 0)):
            taken = await take_in(opened.ledger, read_judgement_file(folder / f"{name}.json"))
            assert (taken.recorded, taken.known, taken.unknown) == (new, 4 - new, {})
            rows.append(await read_manifest(opened.ledger))
        assert rows[0].equals(rows[1])
        judged = rows[0].dropna(subset=["rating"])
        assert judged[["rating", "decision", "notes", "rated_by"]].to_numpy().tolist() == [
            [4.0, "keep", HOSTILE, "Ann O'Neill"]
        ]


async def _judgements_on_a_private_page_change(library: LibrarySettings, page: Page, folder: Path) -> None:
    """What was taken away is saved, and what was judged and undone is not."""
    async with Library(library) as opened:
        export_page(await read_manifest(opened.ledger), folder / "private", judged=True)
    await page.goto((folder / "private" / "index.html").as_uri())
    await page.evaluate("localStorage.clear()")
    await page.reload()
    song = page.locator("article", has=page.get_by_role("button", name="Keep", pressed=True))
    await song.get_by_role("button", name="2 of 5").click()
    await page.locator("#songs").focus()
    await page.keyboard.press("u")
    await expect(song.locator(".star[aria-pressed=true]")).to_have_count(4)
    await expect(page.locator("#kept")).to_have_text("")
    await song.get_by_role("button", name="Keep").click()
    await expect(page.locator("#kept")).to_have_text("1 judged, 0 saved.")
    await (await _save(page)).save_as(folder / "private.json")
    said = json.loads((folder / "private.json").read_text())["judgements"]
    assert [(one["kind"], one["value"]) for one in said] == [("decision", None)]


async def _looks(page: Page, folder: Path) -> None:
    """Each control has a name and a size, no text is pale, and nothing is wider than a phone."""
    await page.locator("article button.play").first.click()
    for scheme, width in (("light", 1100), ("dark", 390)):
        await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of the schemes
        await page.set_viewport_size({"width": width, "height": 800})
        assert (await page.evaluate(UNUSABLE), await page.evaluate(PALE)) == ([], [])
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
