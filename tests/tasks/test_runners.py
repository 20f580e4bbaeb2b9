"""Tasks handed to a task runner run on other threads and loops: each brings its own session along."""

from __future__ import annotations

import pytest
from prefect import flow

from songflow.families.udio import SongRequest
from tasks.sessions import open_session
from tasks.submit import submit

pytestmark = [
    pytest.mark.prefect,
    pytest.mark.xdist_group("prefect"),
    pytest.mark.usefixtures("prefect_server"),
]


def test_submitted_from_a_plain_flow(studio):
    here = studio()

    @flow
    def album():
        futures = [
            submit.submit(SongRequest(prompt=step), here.credentials, step=step, library=here.library)
            for step in ("a", "b")
        ]
        return [future.result() for future in futures]

    made = album()
    assert [one.key.split(":")[1] for one in made] == ["a", "b"]
    assert len({one.generation_id for one in made}) == here.billed == 2


async def test_submitted_under_an_open_session_of_another_loop(studio):
    here = studio()

    @flow
    async def album():
        async with open_session(here.library):
            return submit.submit(SongRequest(prompt="a"), here.credentials, library=here.library).result()

    assert (await album()).generation_id
    assert here.billed == 1
