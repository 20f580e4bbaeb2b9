"""Transport failures: "not sent" if no byte of the POST can have left, else "unknown"."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import socket
import ssl
import zlib
from datetime import UTC, datetime, timedelta

import pytest

from songflow.gateways import (
    Accepted,
    FetchProblem,
    FetchProblemKind,
    NotSent,
    RefusalKind,
    Refused,
    Report,
    Unknown,
    client,
)

TAKEN = '{"code":"success","message":"","data":"id-1"}'
BODY = {"gen_params": {"prompt": "mother"}}


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


async def hang(wire):
    await wire.request()
    await wire.server.over.wait()


@pytest.fixture(scope="session")
def tls_pair(tmp_path_factory):
    """A server's and a client's TLS context that trust each other."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gateway.test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("gateway.test")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    file.write_bytes(
        pem
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cadata=pem.decode())


# Not sent: no byte left.


async def test_a_closed_port_means_not_sent(tools):
    async with tools.gateway(f"http://127.0.0.1:{closed_port()}") as gateway:
        outcome = await gateway.submit("udio", BODY)
    assert isinstance(outcome, NotSent)
    assert "ConnectError" in outcome.reason


async def test_an_unknown_host_means_not_sent(tools):
    async with tools.gateway("http://nowhere.invalid") as gateway:
        assert isinstance(await gateway.submit("udio", BODY), NotSent)


async def test_tls_against_a_plain_port_means_not_sent(serve, tools):
    async def plain(wire):
        await wire.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = await serve(plain)
    async with tools.gateway(server.url.replace("http:", "https:")) as gateway:
        outcome = await gateway.submit("udio", BODY)
    assert isinstance(outcome, NotSent)
    assert server.requests == []


async def test_an_untrusted_certificate_means_not_sent(serve, tools, tls_pair):
    server = await serve(tools.answers(tools.http(200, TAKEN)), tls=tls_pair[0])
    async with tools.gateway(server.url) as gateway:
        outcome = await gateway.submit("udio", BODY)
    assert isinstance(outcome, NotSent)
    assert "CERTIFICATE_VERIFY_FAILED" in outcome.reason
    assert server.requests == []


@pytest.mark.parametrize("limits", [{"connect_timeout": 0.05}, {"total_timeout": 0.05}])
async def test_an_unanswered_tls_handshake_means_not_sent(serve, tools, limits):
    async def mute(wire):
        await wire.server.over.wait()

    server = await serve(mute)
    async with tools.gateway(server.url.replace("http:", "https:"), **limits) as gateway:
        assert isinstance(await gateway.submit("udio", BODY), NotSent)


async def test_a_cancelled_handshake_leaves_no_connection_open(serve, tools):
    begun, hung_up = asyncio.Event(), asyncio.Event()

    async def mute(wire):
        await wire.reader.read(1)
        begun.set()
        while await wire.reader.read(65536):
            pass
        hung_up.set()

    server = await serve(mute)
    async with tools.gateway(server.url.replace("http:", "https:")) as gateway:
        task = asyncio.create_task(gateway.submit("udio", BODY))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(hung_up.wait(), 10)


async def test_an_expired_lease_sends_nothing_on_an_open_connection(serve, tools):
    asked = []

    def why_not():
        asked.append(server.connections)
        return "the lease ran out"

    async def listen(wire):
        await wire.request()

    server = await serve(listen)
    async with tools.gateway(server.url) as gateway:
        outcome = await gateway.submit("udio", BODY, why_not=why_not)
    assert isinstance(outcome, NotSent)
    assert outcome.reason == "the lease ran out"
    assert len(asked) == 1
    assert server.requests == []


async def test_the_last_check_runs_once(serve, tools):
    asked = []
    server = await serve(tools.answers(tools.http(200, TAKEN)))
    async with tools.gateway(server.url) as gateway:
        outcome = await gateway.submit("udio", BODY, why_not=lambda: asked.append(1))
    assert isinstance(outcome, Accepted)
    assert asked == [1]


async def test_a_failing_last_check_sends_nothing(serve, tools):
    def broken():
        raise OSError("ledger gone")

    server = await serve(tools.answers(tools.http(200, TAKEN)))
    async with tools.gateway(server.url) as gateway:
        assert await gateway.submit("udio", BODY, why_not=broken) == NotSent("OSError: ledger gone")
    assert server.requests == []


@pytest.mark.parametrize("body", [{"a": float("nan")}, {"a": object()}])
async def test_a_body_that_json_cannot_express_is_not_sent(serve, tools, body):
    server = await serve(tools.answers(tools.http(200, TAKEN)))
    async with tools.gateway(server.url) as gateway:
        assert isinstance(await gateway.submit("udio", body), NotSent)
    assert server.connections == 0


async def test_a_closed_gateway_sends_nothing(serve, tools):
    server = await serve(tools.answers(tools.http(200, TAKEN)))
    gateway = tools.gateway(server.url)
    await gateway.aclose()
    assert isinstance(await gateway.submit("udio", BODY), NotSent)
    assert isinstance(await gateway.fetch("udio", "id-1"), FetchProblem)
    assert server.connections == 0


# Unknown: the request left, and no complete answer arrived.


async def reset_at_once(wire):
    wire.reset()


async def reset_after_request(wire):
    await wire.request()
    wire.reset()


async def close_after_request(wire):
    await wire.request()


async def reset_inside_head(wire):
    await wire.request()
    await wire.say(b"HTTP/1.1 200 OK\r\nContent-Le")
    wire.writer.close()


async def speak_nonsense(wire):
    await wire.request()
    await wire.say(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


@pytest.mark.parametrize(
    "play", [reset_at_once, reset_after_request, close_after_request, reset_inside_head, speak_nonsense]
)
async def test_a_connection_lost_without_an_answer_is_unknown(serve, tools, play):
    server = await serve(play)
    async with tools.gateway(server.url) as gateway:
        outcome = await gateway.submit("udio", BODY)
    assert isinstance(outcome, Unknown)
    assert outcome.reason
    assert outcome.answer is None
    assert server.connections == 1
    assert len(server.posts) == (0 if play is reset_at_once else 1)


@pytest.mark.parametrize("limits", [{"read_timeout": 0.05}, {"total_timeout": 0.05}])
async def test_a_gateway_that_never_answers_is_unknown(serve, tools, limits):
    server = await serve(hang)
    async with tools.gateway(server.url, **limits) as gateway:
        outcome = await gateway.submit("udio", BODY)
    assert isinstance(outcome, Unknown)
    assert outcome.answer is None
    assert len(server.posts) == 1


async def test_a_slow_drip_ends_at_the_total_timeout(serve, tools):
    async def drip(wire):
        await wire.request()
        await wire.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not wire.server.over.is_set():
            await wire.say(b" ")
            await asyncio.sleep(0.01)

    server = await serve(drip)
    async with tools.gateway(server.url, total_timeout=0.2) as gateway:
        outcome = await gateway.submit("udio", BODY)
    assert isinstance(outcome, Unknown)
    assert outcome.reason == "no complete answer within 0.2 s"
    assert outcome.answer is not None
    assert (outcome.answer.status, outcome.answer.truncated) == (200, True)
    assert len(server.posts) == 1


@pytest.mark.parametrize("status", [200, 400, 401, 429, 503])
async def test_a_truncated_answer_is_unknown_whatever_its_status(serve, tools, status):
    async def cut(wire):
        await wire.request()
        await wire.say(tools.http(status, TAKEN)[:-9])

    server = await serve(cut)
    async with tools.gateway(server.url) as gateway:
        outcome = await gateway.submit("udio", BODY)
    assert isinstance(outcome, Unknown)
    assert outcome.answer is not None
    assert outcome.answer.body == TAKEN[:-9]
    assert outcome.answer.truncated
    assert len(server.posts) == 1


async def test_an_answer_truncated_after_its_id_is_accepted(serve, tools):
    async def cut(wire):
        await wire.request()
        await wire.say(tools.http(200, TAKEN + "   ")[:-1])

    server = await serve(cut)
    async with tools.gateway(server.url) as gateway:
        outcome = await gateway.submit("udio", BODY)
    assert isinstance(outcome, Accepted)
    assert outcome.generation_id == "id-1"
    assert outcome.answer.truncated


async def test_a_complete_answer_counts_even_if_closing_fails(serve, tools, monkeypatch):
    import httpx

    closing = httpx.Response.aclose

    async def broken(self):
        await closing(self)
        raise httpx.ReadError("closing failed")

    monkeypatch.setattr(httpx.Response, "aclose", broken)
    server = await serve(tools.answers(tools.http(200, TAKEN)))
    async with tools.gateway(server.url) as gateway:
        assert isinstance(await gateway.submit("udio", BODY), Accepted)


async def test_an_endless_answer_is_read_up_to_the_limit(serve, tools):
    async def flood(wire):
        await wire.request()
        await wire.say(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
        for _ in range(50):
            await wire.say(b"x" * 1_000_000)

    server = await serve(flood)
    async with tools.gateway(server.url, max_answer_bytes=100_000) as gateway:
        outcome = await gateway.submit("udio", BODY)
        problem = await gateway.fetch("udio", "id-1")
    assert isinstance(outcome, Unknown)
    assert outcome.answer is not None
    assert (len(outcome.answer.body), outcome.answer.truncated) == (100_000, True)
    assert isinstance(problem, FetchProblem)
    assert problem.kind is FetchProblemKind.TRANSIENT
    assert len(server.posts) == 1


async def test_bytes_that_are_not_utf8_are_replaced(serve, tools):
    server = await serve(tools.answers(tools.http(200, b'{"oops": "\xff\x00\xfe"}')))
    async with tools.gateway(server.url) as gateway:
        outcome = await gateway.submit("udio", BODY)
    assert isinstance(outcome, Unknown)
    assert outcome.answer is not None
    assert outcome.answer.body == '{"oops": "\ufffd\ufffd\ufffd"}'


async def test_a_redirect_is_not_followed(serve, tools):
    elsewhere = await serve(tools.answers(tools.http(200, TAKEN)))
    server = await serve(tools.answers(tools.http(308, "", Location=elsewhere.url + "/udio/submit/music")))
    async with tools.gateway(server.url) as gateway:
        outcome = await gateway.submit("udio", BODY)
        problem = await gateway.fetch("udio", "id-1")
    assert isinstance(outcome, Refused)
    assert outcome.kind is RefusalKind.CONFIGURATION
    assert outcome.answer.headers["location"].startswith(elsewhere.url)
    assert isinstance(problem, FetchProblem)
    assert problem.kind is FetchProblemKind.CONFIGURATION
    assert elsewhere.connections == 0


async def test_each_post_has_a_fresh_connection(serve, tools):
    server = await serve(tools.answers(tools.http(200, TAKEN)))
    async with tools.gateway(server.url) as gateway:
        for _ in range(3):
            assert isinstance(await gateway.submit("udio", BODY), Accepted)
    assert server.connections == len(server.posts) == 3


async def test_a_stale_connection_of_a_fetch_is_not_used_for_a_post(serve, tools):
    async def once(wire):
        await wire.request()
        await wire.say(tools.http(200, TAKEN))
        # The server promised to keep the connection alive and drops it at the next request.
        await wire.request()
        wire.reset()

    server = await serve(once)
    async with tools.gateway(server.url) as gateway:
        await gateway.fetch("udio", "id-1")
        assert isinstance(await gateway.submit("udio", BODY), Accepted)
    assert len(server.posts) == 1


async def test_concurrent_posts_do_not_wait_for_each_other(serve, tools):
    together = asyncio.Barrier(5)

    async def meet(wire):
        await wire.request()
        await together.wait()
        await wire.say(tools.http(200, TAKEN))

    server = await serve(meet)
    async with tools.gateway(server.url) as gateway:
        outcomes = await asyncio.gather(*(gateway.submit("udio", BODY) for _ in range(5)))
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    assert len(server.posts) == 5


async def test_cancellation_propagates(serve, tools):
    arrived = asyncio.Event()

    async def signal(wire):
        await wire.request()
        arrived.set()
        await wire.server.over.wait()

    server = await serve(signal)
    async with tools.gateway(server.url) as gateway:
        for call in (gateway.submit("udio", BODY), gateway.fetch("udio", "id-1")):
            arrived.clear()
            task = asyncio.create_task(call)
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


@pytest.mark.parametrize(
    ("encoding", "squeeze"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("x-gzip", gzip.compress)]
)
async def test_an_id_is_found_even_in_a_compressed_answer(serve, tools, encoding, squeeze):
    server = await serve(tools.answers(tools.http(200, squeeze(TAKEN.encode()), Content_Encoding=encoding)))
    async with tools.gateway(server.url) as gateway:
        assert isinstance(await gateway.submit("udio", BODY), Accepted)


async def test_a_decompression_bomb_is_bounded(serve, tools):
    bomb = gzip.compress(b" " * 50_000_000)
    server = await serve(tools.answers(tools.http(200, bomb, Content_Encoding="gzip")))
    async with tools.gateway(server.url, max_answer_bytes=1000) as gateway:
        outcome = await gateway.submit("udio", BODY)
    assert isinstance(outcome, Unknown)
    assert outcome.answer is not None
    assert (len(outcome.answer.body), outcome.answer.truncated) == (1000, True)


async def test_an_answer_with_broken_compression_is_unknown(serve, tools):
    server = await serve(tools.answers(tools.http(200, b"not gzip", Content_Encoding="gzip")))
    async with tools.gateway(server.url) as gateway:
        assert isinstance(await gateway.submit("udio", BODY), Unknown)


# Proxies.


async def test_a_post_through_a_plain_proxy_is_classified_like_any_other(serve, tools, monkeypatch):
    proxy = await serve(tools.answers(tools.http(200, TAKEN)))
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    async with tools.gateway("http://gateway.test") as gateway:
        assert isinstance(await gateway.submit("udio", BODY), Accepted)
    (post,) = proxy.requests
    assert post.target == "http://gateway.test/udio/submit/music"


async def test_a_loopback_gateway_is_reached_without_the_proxy(serve, tools, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{closed_port()}")
    server = await serve(tools.answers(tools.http(200, TAKEN)))
    async with tools.gateway(server.url) as gateway:
        assert isinstance(await gateway.submit("udio", BODY), Accepted)


async def reset(wire):
    await wire.request()
    wire.reset()


@pytest.mark.parametrize("refusal", ["refused", "hangs", "reset"])
async def test_a_proxy_that_refuses_the_tunnel_means_not_sent(serve, tools, monkeypatch, refusal):
    plays = {"refused": tools.answers(tools.http(407)), "hangs": hang, "reset": reset}
    proxy = await serve(plays[refusal])
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    asked = []
    async with tools.gateway("https://gateway.test", read_timeout=0.05) as gateway:
        outcome = await gateway.submit("udio", BODY, why_not=lambda: asked.append(1))
    assert isinstance(outcome, NotSent)
    (connect,) = proxy.requests
    assert connect.method == "CONNECT"
    assert "authorization" not in connect.headers
    assert asked == []


async def test_a_post_through_a_tunnel_is_accepted_over_tls(serve, tools, monkeypatch, tls_pair):
    origin = await serve(tools.answers(tools.http(200, TAKEN)), tls=tls_pair[0])

    async def tunnel(wire):
        await wire.request()
        host, port = origin.url.removeprefix("https://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        await wire.say(b"HTTP/1.1 200 Connected\r\n\r\n")
        await asyncio.gather(pump(wire.reader, writer), pump(reader, wire.writer))

    proxy = await serve(tunnel)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setattr(client, "_tls_context", lambda: tls_pair[1])
    async with tools.gateway("https://gateway.test") as gateway:
        assert isinstance(await gateway.submit("udio", BODY), Accepted)
    assert len(origin.posts) == 1
    assert [request.method for request in proxy.requests] == ["CONNECT"]


async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


async def test_an_invalid_proxy_setting_means_not_sent(tools, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "gopher://proxy.test")
    async with tools.gateway("http://gateway.test") as gateway:
        assert isinstance(await gateway.submit("udio", BODY), NotSent)
        problem = await gateway.fetch("udio", "id-1")
    assert isinstance(problem, FetchProblem)
    assert problem.kind is FetchProblemKind.TRANSIENT


def test_the_tls_context_is_created_once_per_process():
    assert client._tls_context() is client._tls_context()
    assert client._tls_context().verify_mode is ssl.CERT_REQUIRED
    assert client._no_tls_context().get_ca_certs() == []


# The key.


async def test_the_key_is_masked_in_everything_that_is_stored(serve, tools):
    key = tools.key
    escaped = json.dumps(key)[1:-1].replace("/", "\\/")
    go = json.dumps(key)[1:-1].replace("<", "\\u003c").replace(">", "\\u003E").replace("&", "\\u0026")
    percent = "".join(f"%{ord(character):02X}" for character in key)
    forms = [key, escaped, go, percent, percent.replace("%", "%25")]
    body = "[" + ",".join(f'"{form}"' for form in forms) + "]"
    server = await serve(tools.answers(tools.http(401, body, Location=f"/login?key={key}")))
    async with tools.gateway(server.url) as gateway:
        outcome = await gateway.submit("udio", BODY)
        problem = await gateway.fetch("udio", "id-1")
    assert isinstance(outcome, Unknown)
    assert outcome.answer is not None
    assert json.loads(outcome.answer.body) == ["***"] * 5
    assert outcome.answer.headers["location"] == "/login?key=***"
    assert key not in repr((outcome, problem, gateway.account))


async def test_the_key_is_masked_in_reasons_and_logs(serve, tools, caplog):
    caplog.set_level(logging.DEBUG)
    answer = f"HTTP/1.1 200 {tools.key}\r\nX-Echo: Bearer {tools.key}\r\nContent-Length: 0\r\n\r\n".encode()
    server = await serve(tools.answers(answer))
    async with tools.gateway(server.url) as gateway:
        await gateway.submit("udio", BODY)
        await gateway.fetch("udio", "id-1")
        outcome = await gateway.submit("udio", {"oops": SecretEcho(tools.key)})
    assert isinstance(outcome, NotSent)
    assert "***" in caplog.text
    assert tools.key not in caplog.text + repr(outcome)


class SecretEcho(dict):
    """A body whose encoding fails with the key in the error's text."""

    def __init__(self, key):
        super().__init__(a=1)
        self.key = key

    def items(self):
        raise ValueError(f"bad key {self.key}")


async def test_without_a_key_no_authorization_header_is_sent(serve, tools):
    server = await serve(tools.answers(tools.http(200, TAKEN)))
    async with client.Gateway(tools.account(server.url, key=None)) as gateway:
        assert isinstance(await gateway.submit("udio", BODY), Accepted)
    assert "authorization" not in server.posts[0].headers


# Fetching.


async def test_an_id_is_sent_as_one_path_segment(serve, tools):
    server = await serve(tools.answers(tools.http(200, tools.example("openai_hk.fetch.success.json"))))
    async with tools.gateway(server.url) as gateway:
        for one in ("task_1", "a/b?c#d", "..", "%2F", "ü"):
            assert isinstance(await gateway.fetch("udio", one, ["ignored"]), Report)
    assert [request.target for request in server.requests] == [
        "/udio/fetch/task_1",
        "/udio/fetch/a%2Fb%3Fc%23d",
        "/udio/fetch/%2E%2E",
        "/udio/fetch/%252F",
        "/udio/fetch/%C3%BC",
    ]
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {tools.key}"}


def listing(*ids):
    songs = [{"id": one, "finished": True, "song_path": "https://h/s.mp3"} for one in ids]
    return json.dumps({"songs": songs})


NOT_THERE = '{"code":"task_not_exist","message":"gone","data":null}'


@pytest.mark.parametrize(
    ("canned", "listed", "targets"),
    [
        ([(200, listing("a,1", "b"))], {"a,1", "b"}, ["a%2C1,b"]),
        ([(200, listing()), (200, listing("x"))], {"x"}, ["a%2C1,b", "g"]),
        ([(200, listing("x")), (200, listing())], {"x"}, ["a%2C1,b", "g"]),
        ([(200, listing()), (400, NOT_THERE)], set(), ["a%2C1,b", "g"]),
        ([(400, NOT_THERE), (200, listing("b"))], {"b"}, ["a%2C1,b", "g"]),
        ([(400, NOT_THERE), (200, listing())], set(), ["a%2C1,b", "g"]),
        ([(400, NOT_THERE)], FetchProblemKind.NOT_FOUND, ["a%2C1,b", "g"]),
        ([(401, "")], FetchProblemKind.CREDENTIALS, ["a%2C1,b"]),
        ([(400, NOT_THERE), (500, "")], FetchProblemKind.TRANSIENT, ["a%2C1,b", "g"]),
    ],
)
async def test_track_ids_are_fetched_before_the_generation_id(serve, tools, canned, listed, targets):
    server = await serve(tools.answers(*(tools.http(status, body) for status, body in canned)))
    async with tools.gateway(server.url, "cometapi") as gateway:
        result = await gateway.fetch("udio", "g", ["a,1", "b"])
    if isinstance(result, Report):
        assert {take.song_id for take in result.takes} == listed
    else:
        assert result.kind is listed
    assert [request.target for request in server.requests] == [f"/udio/query?ids={ids}" for ids in targets]


@pytest.mark.parametrize(
    ("dialect", "generation_id", "track_ids", "targets"),
    [
        ("cometapi", "g", [], ["/udio/query?ids=g"]),
        ("cometapi", None, ["a"], ["/udio/query?ids=a"]),
        ("openai-hk", None, ["a", "b"], ["/udio/fetch/a", "/udio/fetch/b"]),
        ("openai-hk", None, [], []),
        ("cometapi", "", [], []),
    ],
)
async def test_a_fetch_uses_the_known_ids(serve, tools, dialect, generation_id, track_ids, targets):
    server = await serve(tools.answers(tools.http(200, listing())))
    async with tools.gateway(server.url, dialect) as gateway:
        result = await gateway.fetch("udio", generation_id, track_ids)
    assert [request.target for request in server.requests] == targets
    assert isinstance(result, Report if targets else FetchProblem)


FAULTS = [reset_at_once, reset_after_request, reset_inside_head, speak_nonsense, hang]


@pytest.mark.parametrize("play", FAULTS)
async def test_a_fetch_without_a_complete_answer_is_transient(serve, tools, play):
    server = await serve(play)
    async with tools.gateway(server.url, read_timeout=0.1) as gateway:
        problem = await gateway.fetch("udio", "id-1")
    assert isinstance(problem, FetchProblem)
    assert (problem.kind, problem.answer) == (FetchProblemKind.TRANSIENT, None)
    assert problem.message


async def test_a_truncated_fetch_answer_is_transient(serve, tools):
    async def cut(wire):
        await wire.request()
        await wire.say(tools.http(200, listing("a") + " ")[:-1])

    server = await serve(cut)
    async with tools.gateway(server.url) as gateway:
        problem = await gateway.fetch("udio", "id-1")
    assert isinstance(problem, FetchProblem)
    assert problem.answer is not None
    assert problem.answer.truncated
