"""A real, headless Chromium for tests of Prefect's forms. Conftests import this as `support`."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, async_playwright, expect
from playwright.async_api import TimeoutError as PlaywrightTimeout

SERVICES_REQUIRED = os.environ.get("SONGFLOW_REQUIRE_SERVICES") == "1"
# Without a sandbox it runs as root in a container; nothing else may go out to the network. To refuse addresses here
# rather than request by request leaves Chromium its cache.
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-3d-apis",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
in_its_loop = pytest.mark.asyncio(loop_scope="session")
"""The mark of tests with a page: they run in the event loop that the browser belongs to."""

_PATIENCE_MS = 60_000.0
_OPTION_MS = 10_000.0
_TRIES = 3
_END_SECONDS = 60.0
_IMAGES = Path(__file__).parents[2] / "docs" / "images"


def _chromium() -> str:
    """The browser of this machine; without one the test is skipped, and fails where services are required."""
    found = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
    )
    if found is None:
        reason = "there is no Chromium on this machine"
        if SERVICES_REQUIRED:
            pytest.fail(f"{reason}, and SONGFLOW_REQUIRE_SERVICES=1")
        pytest.skip(reason)
    return found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The browser of all tests of this process, since starting one takes 5 s of CPU.

    It belongs to the event loop of the session, in which tests with a page run (see `in_its_loop`).
    """
    path = _chromium()
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield opened
        await opened.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page with storage and a cache of its own, that may only reach this machine.

    What a user's interface needs comes with Prefect.
    """
    # Drawing animations takes most of what a page costs while it waits.
    context = await browser.new_context(viewport={"width": 1100, "height": 800}, reduced_motion="reduce")
    context.set_default_timeout(_PATIENCE_MS)
    expect.set_options(timeout=_PATIENCE_MS)
    yield await context.new_page()
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def beside() -> AsyncIterator[Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]]:
    """`beside(work())` does this work during the test.

    It ends with the test, whose event loop goes on: a failed test's work would run there for ever.
    """
    tasks: list[asyncio.Task[Any]] = []

    def start(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        tasks.append(asyncio.create_task(work))
        return tasks[-1]

    yield start
    if left := [task for task in tasks if task.cancel()]:
        await asyncio.wait(left, timeout=_END_SECONDS)


async def click_option(page: Page, opener: Locator, option: str) -> None:
    """Open a list and click an option; again if the list closes meanwhile, as it does when its form is drawn again.

    A list that closes stays on the page for the length of its animation, and the next list may have an option of the
    same name.
    """
    wanted = page.get_by_role("option", name=option, exact=True)
    for _ in range(_TRIES):
        await opener.click()
        with suppress(PlaywrightTimeout):
            await wanted.click(timeout=_OPTION_MS)
            await expect(wanted).to_have_count(0)
            return
    raise AssertionError(f"The option {option!r} could not be clicked.")


@dataclass(frozen=True)
class Images:
    """The pictures of the documents, which tests draw where SONGFLOW_SCREENSHOTS=1 asks for them."""

    wanted: bool

    async def take(self, page: Page, name: str, **options: Any) -> None:
        """A screenshot as the picture of this name, if pictures are wanted."""
        if self.wanted:
            await page.screenshot(path=_IMAGES / name, **options)


@pytest.fixture
def images() -> Images:
    """`images.take(page, name)` draws a picture of the documents."""
    return Images(os.environ.get("SONGFLOW_SCREENSHOTS") == "1")
