"""A real, headless Chromium for tests of Prefect's forms. Conftests import this as `support`."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Route, async_playwright, expect

SERVICES_REQUIRED = os.environ.get("SONGFLOW_REQUIRE_SERVICES") == "1"
# Without a sandbox it runs as root in a container; nothing else may go out to the network.
_ARGUMENTS = ["--no-sandbox", "--disable-quic", "--disable-background-networking"]
_PATIENCE_MS = 60_000.0
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


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A browser of this test's own."""
    path = _chromium()
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield opened
        await opened.close()


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page that may only reach this machine: what a user's interface needs comes with Prefect."""
    context = await browser.new_context(viewport={"width": 1100, "height": 800})
    context.set_default_timeout(_PATIENCE_MS)
    expect.set_options(timeout=_PATIENCE_MS)

    async def only_here(route: Route) -> None:
        if "//127.0.0.1" in route.request.url:
            await route.continue_()
        else:
            await route.abort()

    await context.route("**/*", only_here)
    yield await context.new_page()
    await context.close()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Where screenshots go: to the documents where SONGFLOW_SCREENSHOTS=1 asks for it, else nowhere that stays."""
    return _IMAGES if os.environ.get("SONGFLOW_SCREENSHOTS") == "1" else tmp_path
