"""Page objects of the forms in Prefect's UI."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import Locator, Page, expect
from playwright.async_api import TimeoutError as PlaywrightTimeout
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun
from support.browser import Images, click_option
from support.prefect_server import PrefectServer

ROOT = Path(__file__).parents[2]
_RUN_SECONDS = 240.0
_TRIES = 3
_TAKEN_MS = 15_000.0


@dataclass(frozen=True)
class RunForm:
    """The form that starts a run of a deployment."""

    page: Page
    deployment_id: Any
    opened_at: datetime

    @classmethod
    async def open(cls, page: Page, server: PrefectServer, deployment: str) -> RunForm:
        """Open the form of `flow/deployment`."""
        async with get_client() as client:
            found = await client.read_deployment_by_name(deployment)
        await page.goto(f"{server.ui}/v2/deployments/deployment/{found.id}/run")
        await expect(page.get_by_role("button", name="Submit")).to_be_visible()
        return cls(page, found.id, datetime.now(UTC))

    def field(self, title: str) -> Locator:
        """A parameter: its title, text and control; inside its group, if it is in one."""
        label = self.page.locator("label", has_text=re.compile(rf"^{re.escape(title)}( \(Optional\))?$"))
        return self.page.locator("div.group").filter(has=label).last

    async def open_group(self, title: str) -> None:
        """Open a group of parameters."""
        await self.field(title).get_by_role("tab", name="Custom", exact=True).click()

    async def write(self, title: str, text: str) -> None:
        """Type a text or a number."""
        await self.field(title).locator("textarea, input").first.fill(text)

    async def choose(self, title: str, option: str) -> None:
        """Choose one of a parameter's values."""
        opener = self.field(title).get_by_role("button", name=re.compile("^Select")).first
        await click_option(self.page, opener, option)

    async def pick_block(self, title: str, name: str, kind: str | None = None) -> None:
        """Choose a saved block, of one of the parameter's kinds if it has several."""
        field = self.field(title)
        if kind is not None:
            await field.get_by_role("tab", name=kind, exact=True).click()
        await click_option(self.page, field.get_by_role("button", name="Select a block"), name)

    async def picture(self, images: Images, name: str) -> None:
        """Draw the whole form for the documents, without the empty page around it."""
        if not images.wanted:
            await expect(self.page.get_by_role("button", name="Submit")).to_be_visible()
            return
        await self.page.set_viewport_size({"width": 1100, "height": 3200})
        button = await self.page.get_by_role("button", name="Submit").bounding_box()
        assert button, "the form ends with its button"
        clip = {"x": 250, "y": 0, "width": 850, "height": button["y"] + button["height"] + 24}
        await images.take(self.page, name, clip=clip)
        await self.page.set_viewport_size({"width": 1100, "height": 800})

    async def submit(self) -> None:
        """Press the button."""
        await self.page.get_by_role("button", name="Submit").click()

    async def _taken(self) -> None:
        """Wait until Prefect has accepted the form. A busy server answers "Unknown error" and is tried again."""
        for _ in range(_TRIES):
            with suppress(PlaywrightTimeout):
                await self.page.wait_for_url("**tab=Runs**", timeout=_TAKEN_MS)
                return
            with suppress(PlaywrightTimeout):  # the form is gone if it was accepted meanwhile
                await self.page.get_by_role("button", name="Submit").click(timeout=_TAKEN_MS)
        raise AssertionError(
            f"Prefect did not accept the form: {await self.page.locator('body').inner_text()}"
        )

    async def leave(self) -> None:
        """Close the form once Prefect has accepted it."""
        await self._taken()
        await self.page.goto("about:blank")  # the page of the runs asks and draws all the time

    async def finished_run(self) -> FlowRun:
        """The run that the form has started, once it has ended.

        Earlier runs of the deployment are other tests', and scheduled ones are still waiting for their time.
        """
        await self.leave()
        chosen = DeploymentFilter(id=DeploymentFilterId(any_=[self.deployment_id]))
        async with asyncio.timeout(_RUN_SECONDS), get_client() as client:
            while True:
                for run in await client.read_flow_runs(deployment_filter=chosen):
                    is_ours = run.created is not None and run.created >= self.opened_at
                    if is_ours and run.state is not None and run.state.is_final():
                        return run
                await asyncio.sleep(1.0)


async def check_pictures(page: Page) -> None:
    """Wait for a page's images; each must be there, and be a picture."""
    await expect(page.locator("img").first).to_be_visible()
    await page.wait_for_function("[...document.images].every(image => image.complete)")
    broken = await page.evaluate(
        "[...document.images].filter(image => image.naturalWidth === 0).map(image => image.src || image.alt)"
    )
    assert broken == [], page.url


@contextmanager
def serving(server: PrefectServer, library: Path) -> Iterator[None]:
    """Run `python -m deployments.serve` in a process, from the moment that all is served until the block ends."""
    said = library.parent / "serve.log"
    with said.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "deployments.serve"],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "PREFECT_API_URL": server.url,
                "PREFECT_HOME": str(library.parent / "prefect"),
                "SONGFLOW_LIBRARY": str(library),
            },
            stdout=log,
            stderr=log,
        )
        try:
            end = time.monotonic() + _RUN_SECONDS
            while b"are being served" not in said.read_bytes():
                assert process.poll() is None, said.read_text()
                assert time.monotonic() < end, said.read_text()
                time.sleep(0.2)
            yield
        finally:
            process.terminate()
            process.wait(30)
            forget_deployments(server)


def forget_deployments(server: PrefectServer) -> None:
    """Delete all deployments, since other tests share the server."""
    with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
        for deployment in client.post("/deployments/filter", json={}).raise_for_status().json():
            while (answer := client.delete(f"/deployments/{deployment['id']}")).status_code == 503:
                time.sleep(0.2)  # its SQLite is busy with the end of what was served
            answer.raise_for_status()
