"""Speaks to one gateway: a POST leaves once, and whether it left is a fact, not a guess."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import ssl
import zlib
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from songflow.gateways.account import Account
from songflow.gateways.answer import KEPT_HEADERS, Answer
from songflow.gateways.fetch import FetchProblem, FetchProblemKind, classify_fetch
from songflow.gateways.redaction import Redactor, keep_out_of_logs
from songflow.gateways.report import Report
from songflow.gateways.submit import Accepted, NotSent, Outcome, Unknown, classify_submit

if TYPE_CHECKING:
    # Only the types: importing httpx costs 200 ms, which a command that sends nothing need not pay.
    import httpcore
    import httpx

WhyNot = Callable[[], str | None]

_KEEPALIVE_SECONDS = 30.0
# Polls come one after another, and httpcore looks at every idle connection at the start and end of each request.
KEPT_CONNECTIONS = 4
_QUESTIONS_KEPT = 256


class Gateway:
    """An account, ready to submit and to fetch; use it as an async context manager.

    Timeouts are seconds; `total_timeout` bounds one whole request, `max_answer_bytes` its answer.
    """

    def __init__(
        self,
        account: Account,
        *,
        connect_timeout: float = 10.0,
        read_timeout: float = 60.0,
        total_timeout: float = 120.0,
        max_answer_bytes: int = 8 * 1024 * 1024,
    ) -> None:
        self.account = account
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._total_timeout = total_timeout
        self._max_answer_bytes = max_answer_bytes
        self._clients: dict[str, httpx.AsyncClient] = {}
        self._questions: dict[str, httpx.Request] = {}  # in the order of their last use
        self._closed = False
        self._redact = Redactor(account.secret)
        keep_out_of_logs(account.secret)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections; nothing is sent any more afterwards."""
        self._closed = True
        while self._clients:
            await self._clients.popitem()[1].aclose()

    async def submit(self, body: Mapping[str, Any], *, why_not: WhyNot | None = None) -> Outcome:
        """Sends a paid request at most once and says what became of it; raises nothing but CancelledError.

        `why_not` is asked when the connection stands and before the first byte of the request leaves: where it has
        a reason, nothing is sent.
        """
        exchange = _Exchange(self._max_answer_bytes, why_not)
        trouble = await self._send(exchange, "POST", self.account.dialect.submit_path, body)
        answer = exchange.answer(self._redact)
        if trouble is None and answer is not None:
            return classify_submit(answer)
        reason = trouble or "no answer"
        if not exchange.left:
            return NotSent(reason)
        # An answer that was cut off after its id is still an acceptance; nothing else is believed of it.
        outcome = classify_submit(answer) if answer is not None else None
        return outcome if isinstance(outcome, Accepted) else Unknown(reason, answer)

    async def fetch(self, generation_id: str | None, track_ids: Sequence[str] = ()) -> Report | FetchProblem:
        """Asks how a generation is doing; free, and raises nothing that the gateway or the network does."""
        dialect = self.account.dialect
        best: Report | FetchProblem | None = None
        for target in dialect.fetch_targets(generation_id, track_ids):
            result = await self._fetch_one(target)
            if _lists_any(result, track_ids):
                return result
            best = _better(best, result)
            if isinstance(result, FetchProblem) and result.kind is not FetchProblemKind.NOT_FOUND:
                break  # asking by another id would end the same way
        return best or FetchProblem(FetchProblemKind.CONFIGURATION, "there is no id to ask for", None, None)

    async def _fetch_one(self, target: str) -> Report | FetchProblem:
        exchange = _Exchange(self._max_answer_bytes, None)
        trouble = await self._send(exchange, "GET", target, None)
        answer = exchange.answer(self._redact)
        if trouble is None and answer is not None:
            return classify_fetch(answer, self.account.dialect.shape)
        return FetchProblem(FetchProblemKind.TRANSIENT, trouble or "no answer", None, answer)

    async def _send(
        self, exchange: _Exchange, method: str, target: str, body: Mapping[str, Any] | None
    ) -> str | None:
        """Runs one request and gives back what went wrong before its answer was complete, if anything did."""
        try:
            async with asyncio.timeout(self._total_timeout):
                await self._run(exchange, method, target, body)
        except Exception as error:
            # Whatever httpx, a proxy setting or a TLS file does: what became of a POST is told, not raised.
            return None if exchange.complete else self._redact(self._describe(error))
        finally:
            await exchange.hang_up()
        return None

    async def _run(
        self, exchange: _Exchange, method: str, target: str, body: Mapping[str, Any] | None
    ) -> None:
        client = self._client(method)
        request = self._question(client, target) if body is None else self._order(client, target, body)
        # A GET over plain http has nothing to watch: no last moment, no handshake that could be cut off.
        if body is not None or self.account.is_secure:
            request.extensions = {**request.extensions, "trace": exchange.trace}
        response = await client.send(request, stream=True)
        try:
            await exchange.read(response)
        finally:
            await response.aclose()

    def _order(self, client: httpx.AsyncClient, target: str, body: Mapping[str, Any]) -> httpx.Request:
        content = json.dumps(body, allow_nan=False).encode()
        return client.build_request(
            "POST", self.account.base_url + target, content=content, headers=self._headers(has_body=True)
        )

    def _question(self, client: httpx.AsyncClient, target: str) -> httpx.Request:
        """A GET; the same one is asked again and again, and building it takes a fifth of asking it."""
        request = self._questions.pop(target, None)
        if request is None:
            url = self.account.base_url + target
            request = client.build_request("GET", url, headers=self._headers(has_body=False))
        self._questions[target] = request
        if len(self._questions) > _QUESTIONS_KEPT:
            del self._questions[next(iter(self._questions))]
        return request

    def _headers(self, has_body: bool) -> dict[str, str]:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "songflow"}
        if has_body:
            headers["Content-Type"] = "application/json"
        if self.account.secret is not None:
            headers.update(self.account.dialect.authorization(self.account.secret))
        return headers

    def _client(self, method: str) -> httpx.AsyncClient:
        """The client for a method; a POST gets a fresh connection: a stale one looks like a lost answer."""
        import httpx

        if self._closed:
            raise RuntimeError("this gateway is closed")
        if method not in self._clients:
            kept = 0 if method == "POST" else KEPT_CONNECTIONS
            self._clients[method] = httpx.AsyncClient(
                verify=_tls_context() if self.account.is_secure else _no_tls_context(),
                trust_env=not self.account.is_loopback,
                follow_redirects=False,
                timeout=httpx.Timeout(self._read_timeout, connect=self._connect_timeout),
                limits=httpx.Limits(
                    max_connections=None, max_keepalive_connections=kept, keepalive_expiry=_KEEPALIVE_SECONDS
                ),
            )
        return self._clients[method]

    def _describe(self, error: Exception) -> str:
        if isinstance(error, _WithheldError):
            return str(error)
        if type(error) is TimeoutError:
            return f"no complete answer within {self._total_timeout:g} s"
        return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class _WithheldError(Exception):
    """Raised inside httpx at the last moment before the first byte, to send nothing."""


class _Exchange:
    """One request under way: whether it left, and as much of its answer as has come."""

    def __init__(self, limit: int, why_not: WhyNot | None) -> None:
        self.left = False
        self.complete = False
        self._why_not = why_not
        self._limit = limit
        self._status: int | None = None
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._truncated = False
        self._stream: httpcore.AsyncNetworkStream | None = None

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Called by httpcore; its "started" event comes when the connection, TLS included, stands."""
        if event == "connection.connect_tcp.complete":
            self._stream = info["return_value"]
        if event != "http11.send_request_headers.started" or info["request"].method == b"CONNECT":
            return
        if self._why_not is not None and (reason := self._why_not()) is not None:
            raise _WithheldError(reason)
        self.left = True

    async def read(self, response: httpx.Response) -> None:
        """Takes in the answer, no more of it than the limit."""
        self._status = response.status_code
        self._headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
        inflate = _inflater(response.headers.get("content-encoding", ""))
        async for chunk in response.aiter_raw():
            room = self._limit - len(self._body)
            piece = inflate(chunk, room + 1)
            self._body += piece[:room]
            if len(piece) > room:
                self._truncated = True
                break
        self.complete = True

    async def hang_up(self) -> None:
        """Closes a connection that never came to carry the request.

        httpcore leaves its socket open when a TLS handshake is cancelled, by a caller or the total timeout.
        """
        if self._stream is not None and not self.left:
            with contextlib.suppress(Exception):
                await self._stream.aclose()

    def answer(self, redact: Redactor) -> Answer | None:
        """What has come of the answer, fit to be kept; None if not even its status came."""
        if self._status is None:
            return None
        headers = {name: redact(value) for name, value in self._headers.items()}
        # PostgreSQL's text takes no NUL; JSON allows none in the clear, so nothing readable is lost.
        body = self._body.decode("utf-8", "replace").replace("\0", "\ufffd")
        return Answer(self._status, headers, redact(body), self._truncated or not self.complete)


def _inflater(encoding: str) -> Callable[[bytes, int], bytes]:
    """A bounded decoder for those who compress although identity was asked for: ids must stay readable."""
    if encoding.strip().lower() not in ("gzip", "deflate", "x-gzip"):
        return lambda chunk, limit: chunk
    decoder = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    return lambda chunk, limit: decoder.decompress(decoder.unconsumed_tail + chunk, limit)


@functools.cache
def _tls_context() -> ssl.SSLContext:
    """The one TLS context of this process: reading the certificate authorities takes 20 ms."""
    import httpx

    return httpx.create_ssl_context()


@functools.cache
def _no_tls_context() -> ssl.SSLContext:
    """For plain http: cheap, and trusting nobody, so that it could only ever fail closed."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _lists_any(result: Report | FetchProblem, track_ids: Sequence[str]) -> bool:
    """Whether an answer lists what was asked for: one of the track ids, or anything where none are known."""
    if isinstance(result, FetchProblem):
        return False
    return any(take.song_id in track_ids for take in result.takes) if track_ids else bool(result.takes)


def _better(first: Report | FetchProblem | None, second: Report | FetchProblem) -> Report | FetchProblem:
    """Of two answers that do not list the track ids: the one with songs, else the first report."""
    if isinstance(first, Report) and not (isinstance(second, Report) and second.takes):
        return first
    return second
