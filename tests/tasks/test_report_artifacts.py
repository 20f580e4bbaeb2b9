"""A report in Prefect's UI: a page with its figures and pictures; and never a reason to fail."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from prefect import flow, runtime

from songflow.families.udio import SongRequest
from songflow.generation.lifecycle import generate_in
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from tasks.ui import report
from tasks.ui.report import show_report

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect")]

PICTURE = re.compile(r"!\[[^]]+\]\(data:image/png;base64,([\w+/=]+)\)")


@flow
async def reporting(library, keys, title):
    """Shows a report and nothing else; its own run's id comes back."""
    await show_report(library, keys, title)
    return runtime.flow_run.id


async def songs(here, prompts):
    """A generation for each prompt; their keys."""
    async with Session(here.library.get_settings(), SessionSettings(poll_interval=0.05)) as session:
        for number, prompt in enumerate(prompts):
            request = SongRequest(prompt=prompt, prompt_strength=0.25 * (number + 1))
            await generate_in(session, request, here.credentials.get_access(), key=f"k{number}")
    return [f"k{number}" for number in range(len(prompts))]


async def test_a_report_is_a_page_with_a_table_and_its_pictures(studio, prefect_server, monkeypatch):
    """Each picture a whole PNG in the page; hostile texts are texts; pictures without room are counted."""
    here = studio(takes=1)
    keys = await songs(here, ["slow", "<script>alert(1)</script> [x](y)", "fast"])
    settings = here.library.get_settings()
    run = await reporting(settings, keys[:2], "My *sweep*")
    [page] = await prefect_server.artifacts(run)
    pictures = PICTURE.findall(page)
    assert len(pictures) == 4  # two fields, the pair, all of it
    for data in pictures:
        assert Image.open(io.BytesIO(base64.b64decode(data))).width > 400
    assert "| field | outcome | strength | p | lowest | highest | generations |" in page
    assert "# My \\*sweep\\*" in page
    assert "2 generations, 2 songs" in page
    assert "<script>" not in page

    bound = len(page.encode()) - 1
    monkeypatch.setattr(report, "MOST_PAGE_BYTES", bound)
    [smaller] = await prefect_server.artifacts(await reporting(settings, keys[:2], "My *sweep*"))
    assert len(PICTURE.findall(smaller)) == 3
    assert "There is no room on this page for 1 more picture." in smaller
    assert len(smaller.encode()) <= bound


async def test_a_report_that_cannot_be_drawn_fails_nothing(studio, prefect_server, monkeypatch):
    """A library that is no library, a drawing that breaks, no time: a warning each, and the run is completed."""
    here = studio(takes=1)
    keys = await songs(here, ["slow", "fast"])
    settings = here.library.get_settings()
    file = Path(here.folder) / "file"
    file.write_text("")
    runs = [await reporting(replace(settings, folder=file), keys, "no library")]
    runs.append(await reporting(settings, [], "no keys"))
    monkeypatch.setattr(report, "_PATIENCE_SECONDS", 0.0)
    runs.append(await reporting(settings, keys, "no time"))
    for run in runs:
        assert (await prefect_server.flow_run(run)).state.is_completed()
        assert await prefect_server.artifacts(run) == []
    assert "The report cannot be drawn (LibraryError" in await prefect_server.logs(runs[0])
    assert "The report cannot be drawn (TimeoutError" in await prefect_server.logs(runs[2])
