"""Open, fill in and submit each deployment's form in a real browser; check the songs and the bill."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas
import pytest
from playwright.async_api import Page, expect
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from support.browser import Images, in_its_loop
from support.forms import RunForm, check_pictures, serving
from support.prefect_server import PrefectServer

from blocks import OpenAIHKCredentials, SimulatorCredentials, SongLibrary
from deployments.setup import BLOCK_TYPES
from songflow.catalog.manifest import read_manifest
from songflow.ledger.states import State
from songflow.library.library import Library
from songflow.settings import LibrarySettings
from songflow.simulator import SimulatorServer, SimulatorSettings

pytestmark = [
    pytest.mark.browser,
    in_its_loop,
    pytest.mark.prefect,
    pytest.mark.xdist_group("prefect-ui"),
    pytest.mark.timeout(600),
]

BLOCK = "from-a-form"
SWEEP = """\
prompt: a slow waltz
grid:
  seed: [1, 2]
"""


@dataclass(frozen=True)
class Desk:
    """A simulated gateway, its account and a library as saved blocks, and served deployments."""

    server: PrefectServer
    simulator: SimulatorServer
    library: Path

    @property
    def bill(self) -> list[str]:
        """The prompts that the gateway has billed, in order."""
        return [str(entry.body["gen_params"]["prompt"]) for entry in self.simulator.bill()]

    async def manifest(self) -> pandas.DataFrame:
        """The library's songs."""
        async with Library(LibrarySettings(self.library)) as library:
            return await read_manifest(library.ledger)

    async def songs_of(self, prompt: str) -> pandas.DataFrame:
        """The stored songs of a prompt."""
        frame = await self.manifest()
        return frame[(frame["request.prompt"] == prompt) & (frame["song_state"] == "stored")]


@pytest.fixture(scope="module")
def desk(running_prefect_server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One desk for all tests of this module, since starting the serving process takes long."""
    folder = tmp_path_factory.mktemp("forms")
    library = folder / "songs"
    settings = SimulatorSettings(speed=100.0, clip_seconds=0.25, state_dir=folder / "gateway")
    with (
        SimulatorServer(settings) as simulator,
        temporary_settings({PREFECT_API_URL: running_prefect_server.url}),
    ):
        SimulatorCredentials(base_url=simulator.url).save(BLOCK, overwrite=True)
        SongLibrary(folder=str(library)).save(BLOCK, overwrite=True)
        with serving(running_prefect_server, library):
            yield Desk(running_prefect_server, simulator, library)


@pytest.fixture(autouse=True)
def _prefect(prefect_server: PrefectServer) -> None:
    """Every test here asks Prefect's API."""


async def open_form(page: Page, desk: Desk, deployment: str) -> RunForm:
    """A deployment's form, with the account and the library picked among the saved blocks."""
    form = await RunForm.open(page, desk.server, deployment)
    await form.pick_block("Credentials", BLOCK, kind="Song Simulator")
    await form.pick_block("Library", BLOCK)
    return form


async def submitted(form: RunForm, images: Images, name: str) -> FlowRun:
    """Submit, wait for the run and check that it has completed."""
    await check_pictures(form.page)
    await form.picture(images, name)
    await form.submit()
    run = await form.finished_run()
    assert run.state is not None
    assert run.state.is_completed(), run.state.message
    return run


async def test_every_block_is_found_and_shows_its_picture(desk: Desk, page: Page) -> None:
    """In the catalogue, on the pages of its type, on the form that creates it and among the saved blocks."""
    await page.goto(f"{desk.server.ui}/v2/blocks/catalog")
    await page.get_by_placeholder("Search blocks").fill("song")
    await expect(page.get_by_role("link", name="Create")).to_have_count(len(BLOCK_TYPES))
    await check_pictures(page)
    for block in BLOCK_TYPES:
        await expect(page.get_by_role("heading", name=block.get_block_type_name())).to_be_visible()
    saved = (await SongLibrary.aload(BLOCK))._block_document_id
    slug = OpenAIHKCredentials.get_block_type_slug()
    for address in (f"catalog/{slug}", f"catalog/{slug}/create", f"block/{saved}", ""):
        await page.goto(f"{desk.server.ui}/v2/blocks/{address}")
        await check_pictures(page)


async def test_a_song_from_the_form_after_a_wrong_value_was_refused(
    desk: Desk, page: Page, images: Images
) -> None:
    """The browser refuses a strength of 7 with the reason; a right one makes two songs for one bill.

    Then the links of one of them, since each run takes as much CPU as the rest of a test.
    """
    prompt = "a harbour (at noon) & more"
    form = await open_form(page, desk, "generate-song/generate")
    await form.write("Prompt", prompt)
    await form.open_group("Sound")
    await form.write("Prompt strength", "7")
    await form.submit()
    strength = form.field("Prompt strength").get_by_role("spinbutton")
    await expect(strength).to_be_focused()
    said = await strength.evaluate("input => input.validationMessage")
    assert said == "Value must be less than or equal to 1."
    assert desk.bill == []

    await form.write("Prompt strength", "0.7")
    run = await submitted(form, images, "form-generate.png")
    songs = await desk.songs_of(prompt)
    assert list(songs["request.prompt_strength"]) == [0.7, 0.7]
    assert desk.bill == [prompt]
    assert all(Path(path).is_file() for path in songs["path"])
    await _links_of_a_song_open_filled_forms(desk, page, run, prompt)


async def run_of(desk: Desk, deployment: str, **parameters: object) -> FlowRun:
    """Run a deployment with the saved blocks to its end."""
    blocks = {
        name: {"$ref": {"block_document_id": str((await block.aload(BLOCK))._block_document_id)}}
        for name, block in (("credentials", SimulatorCredentials), ("library", SongLibrary))
    }
    run = await desk.server.start(deployment, {**parameters, **blocks})
    async with asyncio.timeout(240):
        while True:
            found = await desk.server.flow_run(run)
            if found.state is not None and found.state.is_final():
                return found
            await asyncio.sleep(1.0)


async def page_of(run: FlowRun) -> str:
    """The path of a run's page of songs."""
    async with get_client() as client:
        found = await client.read_artifacts(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])))
    [artifact] = [one for one in found if one.type == "markdown" and not (one.key or "").startswith("report")]
    return f"artifacts/artifact/{artifact.id}"


async def completed(desk: Desk, name: str, number: int) -> None:
    """Wait until so many runs of a name are completed."""
    async with asyncio.timeout(240):
        while True:
            states = [run.state for run in await desk.server.flow_runs(name)]
            if len([one for one in states if one and one.is_completed()]) == number:
                return
            await asyncio.sleep(1.0)


async def _links_of_a_song_open_filled_forms(desk: Desk, page: Page, run: FlowRun, prompt: str) -> None:
    """In both of Prefect's UIs; submitting the form makes the extension in the song's library, for one bill."""
    path = await page_of(run)
    await page.goto(f"{desk.server.ui}/{path}")
    # This UI opens links in another tab.
    await page.goto(await page.get_by_role("link", name="More like this").evaluate("link => link.href"))
    assert "/v2/" not in page.url
    await expect(page.locator("textarea").first).to_have_value(prompt)

    await page.goto(f"{desk.server.ui}/v2/{path}")
    await page.get_by_role("link", name="More like this").click()
    form = RunForm(page, None, datetime.now(UTC))
    await expect(form.field("Prompt").locator("textarea")).to_have_value(prompt)
    await expect(form.field("Prompt strength").get_by_role("spinbutton")).to_have_value("0.7")

    core = next(iter((await desk.songs_of(prompt))["song_id"]))
    await page.goto(f"{desk.server.ui}/v2/{path}")
    await page.get_by_role("link", name="extend this").first.click()
    await expect(form.field("Song id").locator("textarea")).to_have_value(core)
    before = len(desk.bill)
    await form.submit()
    await form.leave()
    await completed(desk, f"more for {core}", 1)
    frame = await desk.manifest()
    assert list(frame[frame["parent_song_id"] == core]["song_state"]) == ["stored", "stored"]
    assert len(desk.bill) == before + 1


async def test_a_link_of_a_sweep_makes_the_cells_that_are_missing(desk: Desk, page: Page) -> None:
    """The form has the spec and the deployment's own parameters, and songs that exist cost nothing."""
    spec = f"name: a sweep in two parts\n{SWEEP.replace('a slow waltz', 'a quick waltz')}"
    run = await run_of(desk, "sweep/sweep", spec=spec, budget=1.0)
    assert run.state is not None
    assert run.state.message is not None
    assert run.state.message.startswith("2 cells: 1 stored, 1 not started; 1 request for 1 unit, 2 songs.")
    await page.goto(f"{desk.server.ui}/v2/{await page_of(run)}")
    await page.get_by_role("link", name="Make the cells that are missing").click()
    form = RunForm(page, None, datetime.now(UTC))
    await expect(form.field("Sweep").locator("textarea")).to_have_value(spec)
    await expect(form.field("Shard deployment").locator("textarea")).to_have_value("sweep-shard/shard")
    await form.submit()
    await form.leave()
    await completed(desk, "a sweep in two parts", 1)
    assert desk.bill.count("a quick waltz") == 2


async def test_an_intro_from_the_form(desk: Desk, page: Page, images: Images) -> None:
    """A song's id and a place make the extension at the account that made the song."""
    form = await open_form(page, desk, "generate-song/daily")
    await form.write("Prompt", "the core of it")
    await form.submit()
    run = await form.finished_run()
    assert run.state is not None
    assert run.state.is_completed(), run.state.message
    [core, _] = (await desk.songs_of("the core of it"))["song_id"]

    form = await open_form(page, desk, "extend-song/extend")
    await form.write("Song id", core)
    await form.choose("Place", "intro")
    await form.write("Prompt", "a soft beginning")
    await submitted(form, images, "form-extend.png")
    songs = await desk.songs_of("a soft beginning")
    assert set(songs["parent_song_id"]) == {core}
    assert set(songs["mode"]) == {"precede"}
    assert desk.bill.count("a soft beginning") == 1


async def test_a_whole_song_from_the_form(desk: Desk, page: Page, images: Images) -> None:
    """A recipe by its name and a prompt: the manifest holds the songs of every step, each billed once."""
    form = await open_form(page, desk, "make-song/whole-song")
    await form.write("Prompt", "a brass band in the rain")
    before = len(desk.bill)
    await submitted(form, images, "form-whole-song.png")
    frame = await desk.manifest()
    made = frame[frame["request.prompt"].str.contains("brass band")]
    assert set(made["song_state"]) == {"stored"}
    assert made["key"].nunique() == len(desk.bill) - before >= 2
    assert made["depth"].max() >= 1


@pytest.mark.parametrize("deployment", ["sweep/sweep", "sweep/weekly"])
async def test_a_sweep_from_the_form(desk: Desk, page: Page, images: Images, deployment: str) -> None:
    """YAML in the form makes each cell once with either deployment, and a second run pays nothing."""
    form = await open_form(page, desk, deployment)
    await form.write("Sweep", SWEEP)
    await submitted(form, images, "form-sweep.png")
    assert sorted((await desk.songs_of("a slow waltz"))["request.seed"]) == [1, 1, 2, 2]
    assert desk.bill.count("a slow waltz") == 2


async def test_a_rescue_from_the_form(desk: Desk, page: Page, images: Images) -> None:
    """The generation of a dead process is stored by a run from the form, and paid for once."""
    from songflow.accounts import access_from_environment
    from songflow.families.udio import SongRequest
    from songflow.generation.policy import PaidRequest
    from songflow.generation.session import Session
    from songflow.generation.submit import submit_once

    access = access_from_environment("simulator", desk.simulator.url)
    async with Session(LibrarySettings(desk.library)) as session:
        stranded = await submit_once(
            session, PaidRequest(SongRequest(prompt="left behind"), "left-behind"), access
        )
        await session.library.ledger.submissions.release(stranded.id, stranded.lease.fence)

    form = await open_form(page, desk, "rescue-songs/rescue")
    async with asyncio.timeout(120):
        while not (await desk.manifest()).query("key == 'left-behind' and song_state == 'stored'").shape[0]:
            await submitted(form, images, "form-rescue.png")
            form = await open_form(page, desk, "rescue-songs/rescue")
    async with Library(LibrarySettings(desk.library)) as library:
        [submission] = await library.ledger.submissions.of_key("left-behind")
    assert submission.state is State.SUCCEEDED
    assert desk.bill.count("left behind") == 1
