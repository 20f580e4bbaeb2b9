"""The desk of the listening room in a real browser: every key, a sweep as a grid, blind comparisons, and making more.

One library, one room and one page for all of it: a sweep of 24 cells, made by the simulator.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Page, Route, expect
from support.browser import Images, in_its_loop
from support.reader import Service

from songflow.accounts import access_from_environment
from songflow.catalog.judging import judge_row, undo
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from songflow.ledger.judgements import JudgementKind
from songflow.library.library import Library
from songflow.settings import LibrarySettings
from songflow.simulator import SimulatorServer, SimulatorSettings
from songflow.sweeps.cells import cells_of
from songflow.sweeps.run import RunOptions
from songflow.sweeps.spec import load_sweep
from songflow.sweeps.sweep import run_sweep

pytestmark = [pytest.mark.browser, in_its_loop, pytest.mark.timeout(300)]

SPEC = """
prompt: a slow waltz for two cellos
grid:
  prompt_strength: [0.2, 0.4, 0.6, 0.8]
  clarity_strength: [0.1, 0.25, 0.5]
  generation_quality: [0.75, 1]
"""
_CHECKS = Path(__file__).parent / "checks"
UNUSABLE, PALE = ((_CHECKS / name).read_text() for name in ("usable.js", "contrast.js"))


@dataclass(frozen=True)
class Room:
    """An open room: its address, the library behind it, and the gateway that its songs come from."""

    url: str
    library: LibrarySettings
    gateway: SimulatorServer


@pytest.fixture
async def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Room]:
    """A room of a sweep of 24 cells."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_HK_KEY", "sk-of-the-listening-room")
    spec = tmp_path / "waltz.yaml"
    spec.write_text(SPEC)
    library = LibrarySettings.from_environment(tmp_path / "songs")
    quick = SimulatorSettings(speed=200.0, clip_seconds=1.0, state_dir=tmp_path / "gateway")
    with SimulatorServer(quick) as gateway:
        access = access_from_environment("openai-hk", gateway.url)
        cells = cells_of(load_sweep(spec), access)
        async with Session(library, SessionSettings(poll_interval=0.1, budget_run="sweep-1")) as session:
            made = await run_sweep(session, "waltz", cells, access, RunOptions())
        assert made.songs == 48
        command = ("songflow", "listen", "--library", "songs", "--port", "0")
        with Service(command, tmp_path, r"The listening room is open at (\S+)") as service:
            yield Room(service.found, library, gateway)


async def test_the_desk(room: Room, page: Page, images: Images) -> None:
    """Everything that the desk offers, in one visit."""
    await page.goto(room.url)
    await expect(page.locator("article .judge").first).to_be_visible()
    await _every_key_does_what_the_dialog_says(page)
    await _typing_is_left_alone(page)
    await _others_judge_too(room, page)
    await _a_refused_undo_is_dropped(room, page)
    await _a_sweep_is_a_grid(page, images)
    await _a_blind_choice_is_written_down(room, page)
    await _a_winner_is_recorded_once(page)
    await _a_double_click_pays_once(room, page)
    await _everybody_can_use_it(page, images)


async def _every_key_does_what_the_dialog_says(page: Page) -> None:
    desk = _Desk(page)
    await page.keyboard.press("?")
    listed = await page.locator("#keys kbd").all_inner_texts()
    await page.keyboard.press("Escape")
    await expect(page.locator("#keys")).to_be_hidden()
    checks = desk.checks()
    assert set(listed) - {"?"} == {name for names in checks for name in names.split()}
    for names, check in checks.items():
        await check(*names.split())


class _Desk:
    """A check for each row of keys, in an order in which each finds what it needs."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.press = page.keyboard.press
        self.audio = page.locator("#audio")
        self.playing = page.locator("#playing")
        self.judged = page.locator("#player .judge")

    def checks(self) -> dict[str, Callable[..., Awaitable[None]]]:
        """The keys as the dialog names them, and what must happen."""
        return {
            "Space": self.plays,
            "← → Home": self.seeks,
            "↑ ↓ p j": self.steps,
            "t": self.other_take,
            "- + m": self.loudness,
            "1 2 3 4 5 0": self.stars,
            "k d": self.decides,
            "n u": self.notes_and_undo,
            "c Esc": self.side_by_side,
            "v a b x s w": self.blind,
            "q": self.queue,
            "g": self.opens_grid,
            "e l r": self.forms,
            "/": self.search,
        }

    async def plays(self, _space: str) -> None:
        await self.press("Space")
        await expect(self.audio).not_to_have_js_property("currentTime", 0)
        await expect(self.page.locator("article.playing")).to_have_count(1)
        await expect(self.page.locator("#player .what .facts")).to_have_text("a slow waltz for two cellos")
        await expect(self.page.locator(".waveform")).to_have_attribute("aria-valuemax", "1")

    async def seeks(self, *_: str) -> None:
        await self.audio.evaluate("(audio) => audio.pause()")
        await self.press("ArrowRight")
        assert await self.audio.evaluate("(audio) => audio.currentTime > 0.9")
        await self.press("ArrowLeft")
        await expect(self.audio).to_have_js_property("currentTime", 0)
        await self.press("ArrowRight")
        await self.press("Home")
        await expect(self.audio).to_have_js_property("currentTime", 0)

    async def steps(self, *_: str) -> None:
        first = await self.playing.inner_text()
        for forward, back in (("ArrowDown", "ArrowUp"), ("j", "p")):
            await self.press(forward)
            await expect(self.playing).not_to_have_text(first)
            await self.press(back)
            await expect(self.playing).to_have_text(first)

    async def other_take(self, key: str) -> None:
        await expect(self.page.locator("#other")).to_be_visible()
        await self.press(key)
        await expect(self.playing).to_contain_text("(take 2)")

    async def loudness(self, *_: str) -> None:
        """A song is only made quieter than its file."""
        await expect(self.page.locator("#other")).to_be_visible()
        volume = await self.audio.evaluate("(audio) => audio.volume")
        assert volume < 1
        await self.press("-")
        assert await self.audio.evaluate("(audio) => audio.volume") < volume
        await self.press("+")
        await self.press("m")
        await expect(self.audio).to_have_js_property("volume", 1)
        await self.press("m")
        assert await self.audio.evaluate("(audio) => audio.volume") == pytest.approx(volume)

    async def stars(self, *keys: str) -> None:
        lit = self.judged.locator('.star[aria-pressed="true"]')
        for key in keys:
            await self.press(key)
            await expect(lit).to_have_count(int(key))

    async def decides(self, *_: str) -> None:
        for key, name in (("k", "Keep"), ("d", "Discard")):
            await self.press(key)
            await expect(self.judged.get_by_role("button", name=name, pressed=True)).to_be_visible()
        await self.press("d")
        await expect(self.judged.get_by_role("button", name="Discard", pressed=False)).to_be_visible()

    async def notes_and_undo(self, notes: str, undo: str) -> None:
        await self.press(notes)
        await self.page.get_by_label("Notes", exact=True).last.fill("lovely <b>cello</b>")
        await self.page.get_by_role("button", name="Save").click()
        await expect(self.judged.locator(".notes")).to_have_attribute("title", "lovely <b>cello</b>")
        await self.press(undo)
        await expect(self.judged.locator(".notes")).to_have_attribute("title", "Notes")

    async def side_by_side(self, mark: str, _escape: str) -> None:
        first = await self.playing.inner_text()
        await self.press(mark)
        await self.press("j")
        await expect(self.playing).not_to_have_text(first)
        await self.press(mark)
        await expect(self.page.get_by_role("heading", name="Side by side")).to_be_visible()
        await expect(self.page.locator(".parameters")).to_be_visible()
        await self.press("Escape")
        await expect(self.page.locator("#songs")).to_be_visible()

    async def blind(self, pairs: str, a: str, b: str, other: str, skip: str, wins: str) -> None:
        await self.press(pairs)
        heard = self.page.locator(".side.playing h3")
        await expect(heard).to_have_text("A")
        for key, letter in ((b, "B"), (a, "A"), (other, "B")):
            await self.press(key)
            await expect(heard).to_have_text(letter)
            await expect(self.playing).to_have_text(letter)
        await expect(self.page.locator("#panel .parameters")).to_have_count(0)
        await self.press(skip)
        await expect(heard).to_have_text("A")
        await self.press(wins)
        await expect(self.page.get_by_text("Your choice")).to_be_visible()
        await expect(self.page.locator("#panel .parameters")).to_be_visible()

    async def queue(self, key: str) -> None:
        await self.press(key)
        shown = self.page.locator(".queue h3")
        for stars in "432":
            song = await shown.inner_text()
            await expect(self.playing).to_have_text(song)
            await self.press(stars)
            await expect(shown).not_to_have_text(song)

    async def opens_grid(self, key: str) -> None:
        await self.press(key)
        await expect(self.page.locator(".grid")).to_be_visible()

    async def forms(self, *keys: str) -> None:
        for key, name in zip(keys, ("extend", "more", "again"), strict=True):
            await self.press(key)
            await expect(self.page.locator("dialog[open] select").first).to_have_value(name)
            await expect(self.page.locator(".price")).to_contain_text("It costs 1 unit at openai-hk")
            await self.press("Escape")
            await expect(self.page.locator("dialog[open]")).to_have_count(0)

    async def search(self, key: str) -> None:
        await self.press(key)
        await expect(self.page.locator("#find")).to_be_focused()


async def _typing_is_left_alone(page: Page) -> None:
    """In the search field a key is a letter."""
    playing = await page.locator("#playing").inner_text()
    await page.keyboard.type("jkd ?")
    await expect(page.locator("#find")).to_have_value("jkd ?")
    await expect(page.locator("#playing")).to_have_text(playing)
    await expect(page.locator("#keys")).to_be_hidden()
    await page.locator("#find").fill("")
    await page.locator("#find").blur()


async def _others_judge_too(room: Room, page: Page) -> None:
    """What somebody else has said since stands here, too, and one's own stars replace it."""
    await page.keyboard.press("3")
    lit = page.locator('#player .judge .star[aria-pressed="true"]')
    await expect(lit).to_have_count(3)
    song = int(await page.locator("#player .judge").get_attribute("data-judged") or 0)
    async with Library(room.library) as library:
        await judge_row(library.ledger, song, JudgementKind.RATING, 5.0)
    await expect(lit).to_have_count(5)
    await expect(page.locator(f'#song-{song} .star[aria-pressed="true"]')).to_have_count(5)
    await page.keyboard.press("3")
    await expect(lit).to_have_count(3)


async def _a_refused_undo_is_dropped(room: Room, page: Page) -> None:
    """The next one undoes what was judged before; without an answer the same is tried again."""
    kept = page.locator("#player .judge").get_by_role("button", name="Keep", pressed=True)
    lit = page.locator('#player .judge .star[aria-pressed="true"]')
    async with page.expect_response("**/decision") as answered:
        await page.keyboard.press("k")
    await expect(kept).to_be_visible()
    async with Library(room.library) as library:
        await undo(library.ledger, (await (await answered.value).json())["judgement"])
    await expect(kept).to_have_count(0)
    await page.keyboard.press("u")
    await expect(page.locator("#trouble")).to_contain_text("The undo was not stored")
    await page.route("**/judgements/undo", lambda route: route.abort())
    async with page.expect_event("requestfailed"):
        await page.keyboard.press("u")
    await page.unroute("**/judgements/undo")
    await page.keyboard.press("u")
    await expect(lit).to_have_count(5)


async def _a_sweep_is_a_grid(page: Page, images: Images) -> None:
    """Two parameters on the axes; whatever is on them, all takes are shown."""
    await page.locator("#library").evaluate("(shown) => { shown.textContent = './songs' }")
    await page.get_by_role("button", name="Sweeps").click()
    for across, down, cells in (
        ("prompt_strength", "clarity_strength", 12),
        ("generation_quality", "prompt_strength", 8),
        ("generation_quality", "", 2),
    ):
        await page.get_by_label("Across").select_option(across)
        await page.get_by_label("Down").select_option(down)
        await expect(page.locator(".grid tbody td")).to_have_count(cells)
        await expect(page.locator(".take")).to_have_count(48)
    await page.get_by_label("Across").select_option("prompt_strength")
    await page.get_by_label("Down").select_option("clarity_strength")
    playing = page.locator(".take.playing")
    await page.locator(".take button").first.click()
    await expect(playing).to_have_count(1)
    first = await playing.get_attribute("data-song")
    await page.keyboard.press("j")
    await expect(playing).not_to_have_attribute("data-song", str(first))
    await images.take(page, "room-grid.png")


async def _a_blind_choice_is_written_down(room: Room, page: Page) -> None:
    """Two takes of the grid; nothing tells which is which until one is chosen, and the winner is in the ledger."""
    boxes = page.locator(".grid input[type=checkbox]")
    chosen = {int(await boxes.nth(place).get_attribute("value") or 0) for place in (0, 47)}
    await boxes.nth(0).check()
    await boxes.nth(47).check()
    await page.get_by_role("button", name="Compare the two, blind").click()
    await expect(page.locator(".sides")).to_be_visible()
    shown = await page.locator("body").inner_text()
    assert "(take" not in shown
    assert "0.2" not in shown
    await page.get_by_role("button", name="B is better").click()
    await expect(page.locator(".parameters .differs").first).to_be_visible()
    async with Library(room.library, reads_only=True) as library:
        said = [one for song in chosen for one in await library.ledger.judgements.of_song(song)]
    [winner] = [one for one in said if one.kind is JudgementKind.WINNER]
    assert {winner.song, winner.other_song} == chosen
    await page.keyboard.press("Escape")


async def _a_winner_is_recorded_once(page: Page) -> None:
    """However often it is chosen while the answer is on its way; a pair that is skipped to meanwhile stays blind."""
    sent: list[str | None] = []
    answered = asyncio.Event()

    async def slowly(route: Route) -> None:
        sent.append(route.request.post_data)
        await answered.wait()
        await route.continue_()

    await page.route("**/comparisons", slowly)
    await page.keyboard.press("v")
    heard = page.locator(".side.playing h3")
    await expect(heard).to_have_text("A")
    await page.keyboard.press("b")
    async with page.expect_response("**/comparisons"):
        for key in "wxw":
            await page.keyboard.press(key)
        await expect(heard).to_have_text("A")
        await page.keyboard.press("b")
        async with page.expect_response("**/pairs/next"):
            await page.keyboard.press("s")
        await expect(heard).to_have_text("A")
        answered.set()
    await page.keyboard.press("b")
    await expect(heard).to_have_text("B")
    assert (len(sent), await page.locator("#panel .parameters").count()) == (1, 0)
    await page.unroute("**/comparisons")
    await page.keyboard.press("Escape")


async def _a_double_click_pays_once(room: Room, page: Page) -> None:
    """One request, one generation; the new songs appear in the list while it is open."""
    before = len(room.gateway.bill())
    await page.keyboard.press("j")
    await expect(page.locator("#make")).to_be_visible()
    await page.locator("#make").click()
    pay = page.get_by_role("button", name="Pay 1 unit and make it")
    async with page.expect_response(lambda answer: answer.url.endswith("/orders")) as sent:
        await pay.dblclick()
    order = json.loads((await sent.value).request.post_data or "")
    await expect(page.locator("#orders")).to_contain_text("2 songs are stored")
    await expect(page.locator("#count")).to_contain_text("50 of 50")
    again = await page.evaluate(
        """async (order) => (await (await import("/assets/api.js")).send("POST", "/orders", order)).state""",
        order,
    )
    assert again == "2 songs are stored"
    assert len(room.gateway.bill()) == before + 1


async def _everybody_can_use_it(page: Page, images: Images) -> None:
    """Light, dark and on a phone: names for all controls, 24 pixels to hit, and contrast."""
    for colours, width, name in (
        ("light", 1100, "room"),
        ("dark", 1100, "room-dark"),
        ("dark", 390, "room-phone"),
    ):
        await page.set_viewport_size({"width": width, "height": 800})
        await page.locator("#theme").select_option(colours)
        for key, opened in (("", "#songs"), ("?", "#keys"), ("v", ".sides"), ("g", ".grid")):
            if key:
                await page.keyboard.press(key)
            await expect(page.locator(opened)).to_be_visible()
            assert await page.evaluate(UNUSABLE) == [], (name, key)
            assert await page.evaluate(PALE) == [], (name, key)
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, key)
            await page.keyboard.press("Escape")
            await expect(page.locator("#songs")).to_be_visible()
        await expect(page.locator("article .judge").first).to_be_visible()
    await page.keyboard.press("j")
    await expect(page.locator("#make")).to_be_visible()
    await images.take(page, "room-phone.png")
