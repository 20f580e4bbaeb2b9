"""Callbacks over real sockets: a genuine one ends a wait at once, and any other one changes nothing."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import uvicorn
from sqlalchemy import select

from songflow.errors import InvalidEnvironment
from songflow.families.registry import parse_request
from songflow.gateways.callback import signature_of
from songflow.generation.lifecycle import generate_in
from songflow.ledger import schema
from songflow.settings import webhook_callback
from songflow.webhooks import webhook_app

SECRET = "a-secret-of-callbacks-0123"
NEVER = 3600.0
WAYS = [("kie", "chirp-auk"), ("sunoapi", "chirp-auk"), ("piapi", "udio32-v1.5")]


@pytest.fixture
async def receiver(session: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The receiver of this test's library, whose address songs are made with."""
    settings = (await session()).library.settings
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv("SONGFLOW_WEBHOOK_URL", url)
        monkeypatch.setenv("SONGFLOW_WEBHOOK_SECRET", SECRET)
        server = uvicorn.Server(uvicorn.Config(webhook_app(settings, SECRET), log_config=None))
        serving = asyncio.create_task(server.serve([listener]))
        yield url
        server.should_exit = True
        await serving


async def hints(opened: Any) -> list[Any]:
    """The rows that callbacks have left."""
    async with opened.library.ledger.database.read() as connection:
        return list(await connection.execute(select(schema.hints)))


async def make(opened: Any, account: Any, model: str) -> Any:
    """Make one song."""
    request = parse_request({"prompt": "a cat on a roof", "model_type": model})
    return await generate_in(opened, request, account, key="cat")


@pytest.mark.parametrize(("gateway", "model"), WAYS)
async def test_a_callback_ends_a_wait_that_would_not_poll_for_an_hour(
    gateway: str, model: str, receiver: str, simulator: Any, access: Any, session: Any
) -> None:
    """The canonical body and its hash have nothing of it, and what the ledger keeps has no secret.

    No gateway gets the secret by which another one's callbacks are checked.
    """
    server, opened = (
        simulator(webhook_key=SECRET, speed=54.0),
        await session(poll_interval=NEVER, deadline=NEVER),
    )
    result = await make(opened, access(server.url, gateway, key="any"), model)
    assert all(song.path for song in result.songs)
    (bill,) = server.bill()
    assert f"{receiver}/{gateway}" in str(bill.body)
    assert SECRET not in str(bill.body)
    generation = await opened.library.ledger.submissions.generation("cat")
    assert receiver not in str(generation)
    async with opened.library.ledger.database.read() as connection:
        answers = list(await connection.execute(select(schema.answers)))
    assert SECRET not in str(answers)
    assert [row.generation_id for row in await hints(opened)] == [bill.generation_id]


@pytest.mark.parametrize("fault", ["lost", "forged", "early", "replayed"])
@pytest.mark.parametrize(("gateway", "model"), WAYS[1:])
async def test_any_other_callback_changes_nothing(
    fault: str, gateway: str, model: str, receiver: str, simulator: Any, access: Any, session: Any
) -> None:
    """Polling goes on underneath, and each song is paid for once."""
    server = simulator({"fault": fault, "on": "callback"}, webhook_key=SECRET, speed=54.0)
    opened = await session(poll_interval=0.2)
    result = await make(opened, access(server.url, gateway, key="any"), model)
    assert (len(server.bill()), all(song.path for song in result.songs)) == (1, True)
    assert len(await hints(opened)) <= {"lost": 0, "forged": 0}.get(fault, 1)


async def test_a_callback_is_checked_before_anything_is_written(
    receiver: str, session: Any, simulator: Any, access: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Unknown gateways, other texts, old or unsigned callbacks, and generations that nobody waits for.

    A wrong secret would otherwise never be noticed: the log says once a minute that signatures do not fit.
    """
    opened = await session()
    old = str(int(time.time()) - 3600)
    now = str(int(time.time()))
    body = {"code": 200, "msg": "", "data": {"callbackType": "complete", "task_id": "t", "data": []}}
    signed = {"x-webhook-timestamp": now, "x-webhook-signature": signature_of(SECRET, "t", now)}
    async with httpx.AsyncClient(base_url=receiver) as client:
        answers = [
            (await client.post("/nobody", json=body)).status_code,
            (await client.post("/cometapi", json=body)).status_code,
            (await client.post("/kie", content=b"no json")).status_code,
            (await client.post("/kie", content=b" " * 2_000_000)).status_code,
            (await client.post("/kie", json=body)).status_code,
            (
                await client.post(
                    "/kie",
                    json=body,
                    headers={
                        "x-webhook-timestamp": old,
                        "x-webhook-signature": signature_of(SECRET, "t", old),
                    },
                )
            ).status_code,
            (await client.post("/kie", json=body, headers=signed)).status_code,
            (await client.post("/kie", json=["t"], headers=signed)).status_code,
        ]
    assert answers == [404, 404, 400, 413, 200, 200, 200, 200]
    assert [record.name for record in caplog.records if "SONGFLOW_WEBHOOK_SECRET" in record.getMessage()] == [
        "songflow.webhooks.app"
    ]
    assert await hints(opened) == []


def test_an_address_without_a_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is sent; without an address there is nothing to check."""
    assert webhook_callback() is None
    monkeypatch.setenv("SONGFLOW_WEBHOOK_URL", "https://hooks.example.com/songs/")
    with pytest.raises(InvalidEnvironment, match="SONGFLOW_WEBHOOK_SECRET"):
        webhook_callback()
    monkeypatch.setenv("SONGFLOW_WEBHOOK_SECRET", SECRET)
    found = webhook_callback()
    assert found is not None
    assert found.address("kie") == "https://hooks.example.com/songs/kie"
    assert SECRET not in repr(found)
    monkeypatch.setenv("SONGFLOW_WEBHOOK_URL", "hooks.example.com")
    with pytest.raises(InvalidEnvironment, match="SONGFLOW_WEBHOOK_URL"):
        webhook_callback()
