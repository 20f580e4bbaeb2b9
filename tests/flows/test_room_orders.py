"""A song that is made from the listening room is a flow run where a Prefect server is configured."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest
from support.reader import Service

import songflow
from songflow.listening.access import TOKEN_HEADER

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect")]

KEY = f"room-{7:024x}"


async def test_an_order_becomes_a_flow_run(studio, prefect_server, monkeypatch):
    """Sent twice, it is one run and one bill, under the key of the form."""
    here = studio()
    monkeypatch.setenv("OPENAI_HK_KEY", here.secret)
    monkeypatch.setenv("PREFECT_API_URL", prefect_server.url)
    monkeypatch.delenv("SONGFLOW_PREFECT", raising=False)
    await songflow.generate(
        "ordered in the room",
        account={"gateway": "openai-hk", "base_url": here.simulator.url},
        waiting={"poll_interval": 0.1},
        safety={"key": "core"},
        library=here.folder / "songs",
    )
    _, [song, _] = await here.ledger("core")
    command = ("songflow", "listen", "--library", "songs", "--port", "0")
    with Service(command, here.folder, r"The listening room is open at (\S+)") as service:
        async with httpx.AsyncClient(base_url=service.found, timeout=60) as room:
            [token] = re.findall(r'name="songflow-token" content="([^"]+)"', (await room.get("/")).text)
            room.headers[TOKEN_HEADER] = token
            order = {"song": song.id, "kind": "again", "fields": {"prompt_strength": 0.9}}
            price = (await room.post("/orders/plan", json=order)).json()["price"]
            for _ in range(2):
                sent = await room.post("/orders", json={"order": order, "key": KEY, "price": price})
                assert sent.status_code == 200, sent.text
            made = await _ended(room)
    assert (made["has_failed"], made["state"]) == (False, "2 songs are stored")
    [run] = await prefect_server.flow_runs("ordered in the room")
    [submission], songs = await here.ledger(KEY)
    assert submission.runs.flow_run_id == str(run.id)
    assert (len(songs), here.billed) == (2, 2)


async def _ended(room):
    for _ in range(600):
        [made] = (await room.get("/orders")).json()["orders"]
        if made["has_ended"]:
            return made
        await asyncio.sleep(0.1)
    pytest.fail(f"it has not ended: {made}")
