"""One sender for each process: what it is given, what it answers, and what it does without its asker."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from songflow.gateways import Accepted, Answer, NotSent, RefusalKind, Refused, Unknown
from songflow.generation.policy import PaidRequest
from songflow.generation.submit import submit_once
from songflow.ledger import State
from songflow.ledger.spool import SpoolEntry
from songflow.sender import client
from songflow.sender.orders import Order, frame, frames, outcome_of, packed, spooled, unpacked

ANSWER = Answer(400, {"retry-after": "3"}, '{"code": "invalid_request", "message": "no", "data": null}')
ENTRY = SpoolEntry("s", "key", "simulator", "http://x", "test", None, (), "")
OUTCOMES = [
    Accepted("id", ("a", "b"), ANSWER),
    NotSent("the lease ran out"),
    Refused(RefusalKind.INVALID_REQUEST, "no", False, 3.0, ANSWER),
    Unknown("cut off", ANSWER),
    Unknown("no answer", None),
]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda one: type(one).__name__)
def test_an_outcome_comes_over_the_socket_and_back_from_the_spool_as_it_was(outcome) -> None:
    """A refusal is read again from its answer, by the one table."""
    assert unpacked(packed(outcome)) == outcome
    entry = spooled(ENTRY, outcome)
    assert outcome_of(entry, "udio") == outcome


def test_a_refusal_without_its_answer_is_unknown_to_the_table_but_not_sent_again() -> None:
    """Entries of earlier versions have no answer."""
    assert outcome_of(replace(ENTRY, outcome="refused"), "udio") == Unknown("the reason was not kept", None)


def test_messages_are_cut_wherever_the_socket_cuts_them() -> None:
    sent = [{"id": "a"}, {"body": "x" * 100_000, "odd": "\ud800"}, {}]
    stream, received, got = b"".join(map(frame, sent)), bytearray(), []
    for at in range(0, len(stream), 7919):
        received += stream[at : at + 7919]
        got += frames(received)
    assert (got, received) == (sent, b"")


def test_an_order_shows_neither_key_nor_database_password() -> None:
    order = Order(ENTRY, "udio", "http://x", 1.0, 2.0, "/songs", "sk-secret", "postgresql://me:secret@db/x")
    assert "secret" not in repr(order)
    assert Order.unpacked(order.packed()) == order


def test_it_starts_without_what_takes_time() -> None:
    """Neither pydantic nor SQLAlchemy nor a rich command line."""
    code = (
        "import sys; sys.modules['httpx._main'] = None; import httpx, songflow.sender.process; "
        "print([name for name in ('pydantic', 'sqlalchemy', 'rich', 'prefect') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def _post(opened, request, key, way):
    return await submit_once(opened, PaidRequest(request, key), way)


async def test_threads_and_event_loops_share_one_sender(simulator, access, session, song_request) -> None:
    """Each is answered in its own loop."""
    server, opened = simulator(), await session()
    way = access(server.url)
    first = await _post(opened, song_request("one"), "one", way)
    sender = await client.sender_for("simulator")

    def beside() -> client.Sender:
        return asyncio.run(client.sender_for("simulator"))

    assert await asyncio.to_thread(beside) is sender
    assert first.state is State.ACCEPTED
    assert sender.identity.pid != os.getpid()


async def test_a_body_larger_than_the_sockets_buffer_is_sent_whole(
    simulator, access, session, song_request
) -> None:
    server, opened = simulator(), await session()
    lyrics = "la " * 300_000
    sent = await _post(opened, song_request(lyrics=lyrics, lyrics_type="user"), "key", access(server.url))
    assert sent.state is State.ACCEPTED
    assert server.bill()[0].body["gen_params"]["lyrics"] == lyrics


async def test_after_its_sender_was_killed_a_process_starts_another(
    simulator, access, session, song_request, until
) -> None:
    server, opened = simulator(), await session()
    before = await client.sender_for("simulator")
    os.kill(before.identity.pid, signal.SIGKILL)

    async def is_noticed() -> bool:
        return before.is_gone

    await until(is_noticed)
    sent = await _post(opened, song_request(), "key", access(server.url))
    assert (sent.state, (await client.sender_for("simulator")) is before) == (State.ACCEPTED, False)


async def test_signals_that_end_its_neighbours_do_not_end_it() -> None:
    sender = await client.sender_for("simulator")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(sender.identity.pid, number)
    assert await asyncio.to_thread(sender._ended.done) is False
    assert not sender.identity.is_gone()


@pytest.mark.parametrize("failure", ["cannot be started", "does not start"])
async def test_where_no_process_can_be_started_a_thread_sends(
    simulator, access, session, song_request, monkeypatch: pytest.MonkeyPatch, caplog, failure: str
) -> None:
    """A log line says so, and what it gives up."""
    monkeypatch.setattr(client, "_senders", client._Senders())
    if failure == "cannot be started":

        def refused(*_: object, **__: object) -> None:
            raise PermissionError("no processes here")

        monkeypatch.setattr(client.subprocess, "Popen", refused)
    else:
        monkeypatch.setattr(client, "_CODE", "raise SystemExit")
    server, opened = simulator(), await session()
    sent = await _post(opened, song_request(), "key", access(server.url))
    assert sent.state is State.ACCEPTED
    assert "a thread sends them" in caplog.text
    assert (await client.sender_for("simulator")).identity.pid == os.getpid()
    for sender in client._senders:
        sender.close()


async def test_a_gateway_that_only_this_program_knows_is_served_by_a_thread() -> None:
    assert (await client.sender_for("hummery")).identity.pid == os.getpid()
    assert (await client.sender_for("custom")).identity.pid != os.getpid()


def test_a_fork_has_a_sender_of_its_own_and_does_not_keep_the_old_one_alive(tmp_path: Path) -> None:
    """It holds no end of the socket: the first sender ends with its own process."""
    code = """
import asyncio, os, sys, time
from songflow.sender import client
first = asyncio.run(client.sender_for("simulator")).identity
if os.fork():
    print(first.pid, flush=True)
    os._exit(0)
own = asyncio.run(client.sender_for("simulator")).identity
while not first.is_gone():
    time.sleep(0.01)
print(own.pid, flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    first, second = done.stdout.split()
    assert first != second


def test_the_sender_ends_with_its_process(tmp_path: Path) -> None:
    code = """
import asyncio
from dataclasses import astuple
from songflow.sender import client
print(*astuple(asyncio.run(client.sender_for("simulator")).identity), sep="\\n")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    host, boot, pid, start = done.stdout.splitlines()
    identity = client.ProcessIdentity(host, boot, int(pid), start)
    ended = threading.Event()
    for _ in range(500):
        if identity.is_gone():
            return
        ended.wait(0.02)
    pytest.fail("it lives on")
