"""Flows on a Prefect server with SQLite, the database of a first `prefect server start`."""

from __future__ import annotations

import pytest
from support.prefect_server import serving, talking_to

from flows.generate import generate_song

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect")]


async def test_a_flow_runs_on_a_server_with_sqlite(studio, tmp_path):
    """It stores its takes, and the server keeps its states, logs and artifacts."""
    here = studio()
    with serving() as server, talking_to(server, tmp_path / "prefect"):
        result = await generate_song("a waltz on SQLite", **here.options)
        submissions, songs = await here.ledger(result.key)
        assert here.billed == 1
        assert len(songs) == 2
        run = submissions[0].runs.flow_run_id
        assert (await server.states(run))[-1] == "Completed"
        assert result.key in server.dump()
        assert await server.logs(run)
        assert await server.artifacts(run)
