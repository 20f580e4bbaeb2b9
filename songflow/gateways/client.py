"""The HTTP client of one gateway: a paid POST leaves at most once, and whether it left is observed, not guessed."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import ssl
from collections.abc import AsyncIterable, Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from songflow.gateways.account import Account
from songflow.gateways.answer import KEPT_HEADERS, Answer
from songflow.gateways.batch import BatchProblem, Wanted, read_batch
from songflow.gateways.body import raw_header, read_body
from songflow.gateways.callback import secret_for
from songflow.gateways.fetch import FetchProblem, FetchProblemKind, classify_fetch
from songflow.gateways.network import KEPT_CONNECTIONS, open_transport
from songflow.gateways.redaction import Redactor, keep_out_of_logs
from songflow.gateways.report import Report
from songflow.gateways.service import Question, Service
from songflow.gateways.submit import Accepted, NotSent, Outcome, Unknown, classify_submit

if TYPE_CHECKING:
    # Only the types: importing httpx takes 200 ms, which commands that send nothing save.
    import httpcore
    import httpx

__all__ = ["Gateway", "WhyNot"]

WhyNot = Callable[[], str | None]
"""A last check before a paid POST: the reason not to send it, or None."""

_Build = Callable[[], "httpx.Request"]

_CACHED_REQUESTS = 256


class Gateway:
    """An account's connections, to submit and to fetch; an async context manager.

    Args:
        account: Whose gateway it is.
        connect_timeout, read_timeout: Seconds.
        total_timeout: Seconds that one whole request may take.
        max_answer_bytes: Where an answer is cut off.
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
        self._timeouts = {"connect": connect_timeout, "read": read_timeout, "write": read_timeout}
        self._total_timeout = total_timeout
        self._max_answer_bytes = max_answer_bytes
        self._transports: dict[bool, httpx.AsyncBaseTransport] = {}  # by whether they pay
        self._polls: dict[tuple[str, str], httpx.Request] = {}  # in the order of their last use
        self._closed = False
        # A gateway may repeat the whole request in its reports, also the secret of callbacks.
        callback, name = account.callback, account.dialect.name
        told = () if callback is None else (callback.secret, secret_for(name, callback.secret))
        self._redact = Redactor(account.secret, *told)
        keep_out_of_logs(account.secret)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; nothing is sent any more afterwards."""
        self._closed = True
        while self._transports:
            await self._transports.popitem()[1].aclose()

    async def submit(self, family: str, body: Mapping[str, Any], *, why_not: WhyNot | None = None) -> Outcome:
        """Send a paid request at most once and classify its outcome; raises nothing but CancelledError.

        Args:
            family: The model family of the body.
            body: The canonical body.
            why_not: Called when the connection is open, before the first byte of the request: if it returns a reason,
                nothing is sent.
        """
        service = self.account.dialect.services.get(family)
        if service is None:
            return NotSent(f"{self.account.dialect.name} does not sell {family}")
        exchange = _Exchange(self._max_answer_bytes, why_not)
        trouble = await self._send(exchange, lambda: self._order(service, body), paid=True)
        answer = exchange.answer(self._redact)
        if trouble is None and answer is not None:
            return classify_submit(answer, service)
        reason = trouble or "no answer"
        if not exchange.left:
            return NotSent(reason)
        # An answer that was cut off after its id is still an acceptance; nothing else in it is trusted.
        outcome = classify_submit(answer, service) if answer is not None else None
        return outcome if isinstance(outcome, Accepted) else Unknown(reason, answer)

    async def fetch(
        self, family: str, generation_id: str | None, track_ids: Sequence[str] = ()
    ) -> Report | FetchProblem:
        """Fetch the report on a generation. It is free, and problems of gateway and network are not raised."""
        dialect = self.account.dialect
        service = dialect.services.get(family)
        if service is None:
            return FetchProblem(
                FetchProblemKind.CONFIGURATION, f"{dialect.name} does not sell {family}", None, None
            )
        best: Report | FetchProblem | None = None
        for question in service.questions(generation_id, track_ids, self.account.base_url):
            result = await self._fetch_one(family, service, question)
            if _lists_any(result, track_ids):
                return result
            best = _better(best, result)
            if isinstance(result, FetchProblem) and result.kind is not FetchProblemKind.NOT_FOUND:
                break  # asking by another id would end the same way
        return best or FetchProblem(FetchProblemKind.CONFIGURATION, "there is no id to ask for", None, None)

    def most_at_once(self, family: str) -> int:
        """How many ids of a family one fetch may name; 1 where each generation has to be fetched alone."""
        service = self.account.dialect.services.get(family)
        return 1 if service is None or service.batch is None else service.batch.most

    def ids_at_once(self, family: str, wanted: Wanted) -> int:
        """How many ids name a generation in a fetch of several."""
        return len(self.account.dialect.services[family].ids_of(wanted.generation_id, wanted.track_ids))

    def calls_back(self, family: str) -> bool:
        """True if the gateway is asked to report the ends of a family's generations."""
        service = self.account.dialect.services.get(family)
        return self.account.callback is not None and service is not None and service.with_callback is not None

    async def fetch_many(
        self, family: str, wanted: Sequence[Wanted]
    ) -> list[Report | FetchProblem] | BatchProblem:
        """Fetch the reports on several generations with one request, in the given order.

        Only for a family with `most_at_once` over 1. It is free, and problems are not raised.
        """
        service = self.account.dialect.services[family]
        ids = dict.fromkeys(
            name for one in wanted for name in service.ids_of(one.generation_id, one.track_ids)
        )
        question = service.joint_question(list(ids), self.account.base_url)
        exchange = _Exchange(self._max_answer_bytes, None)
        trouble = await self._send(exchange, lambda: self._ask(service, question), paid=False)
        answer = exchange.answer(self._redact)
        if trouble is None and answer is not None:
            return read_batch(answer, service, wanted, self.account.base_url)
        return BatchProblem(FetchProblem(FetchProblemKind.TRANSIENT, trouble or "no answer", None, answer))

    async def _fetch_one(self, family: str, service: Service, question: Question) -> Report | FetchProblem:
        exchange = _Exchange(self._max_answer_bytes, None)
        trouble = await self._send(exchange, lambda: self._poll(family, service, question), paid=False)
        answer = exchange.answer(self._redact)
        if trouble is None and answer is not None:
            return classify_fetch(answer, service, question)
        return FetchProblem(FetchProblemKind.TRANSIENT, trouble or "no answer", None, answer)

    async def _send(self, exchange: _Exchange, build: _Build, *, paid: bool) -> str | None:
        """Run one request; what went wrong before its answer was complete, or None."""
        try:
            async with asyncio.timeout(self._total_timeout):
                await self._run(exchange, build, paid)
        except Exception as error:
            # Whatever httpx, a proxy setting or a TLS file raises: the outcome of a POST is returned, not raised.
            return None if exchange.complete else self._redact(self._describe(error))
        finally:
            await exchange.hang_up()
        return None

    async def _run(self, exchange: _Exchange, build: _Build, paid: bool) -> None:
        transport = self._transport(paid)
        request = build()
        # A poll over plain http needs no trace: it has no last check, and no TLS handshake that could be cut off.
        if paid or self.account.is_secure:
            request.extensions = {**request.extensions, "trace": exchange.trace}
        response = await transport.handle_async_request(request)
        try:
            await exchange.read(response)
        finally:
            await response.aclose()

    def _order(self, service: Service, body: Mapping[str, Any]) -> httpx.Request:
        wire, callback = service.wire_body(body), self.account.callback
        if callback is not None and service.with_callback is not None:
            name = self.account.dialect.name
            wire = service.with_callback(wire, callback.address(name), secret_for(name, callback.secret))
        return self._post(service, service.path_for(body), wire)

    def _ask(self, service: Service, question: Question) -> httpx.Request:
        if question.body is not None:
            return self._post(service, question.target, question.body)
        return self._request("GET", question.target, self._headers(service))

    def _poll(self, family: str, service: Service, question: Question) -> httpx.Request:
        if question.body is not None:
            return self._ask(service, question)
        # The same GET is sent again and again, and building it takes a fifth of its time.
        name = (family, question.target)
        request = self._polls.pop(name, None)
        if request is None:
            request = self._ask(service, question)
        self._polls[name] = request
        if len(self._polls) > _CACHED_REQUESTS:
            del self._polls[next(iter(self._polls))]
        return request

    def _post(self, service: Service, target: str, body: Mapping[str, Any]) -> httpx.Request:
        content = json.dumps(body, allow_nan=False).encode()
        headers = {**self._headers(service), "Content-Type": "application/json"}
        return self._request("POST", target, headers, content)

    def _request(
        self, method: str, target: str, headers: dict[str, str], content: bytes | None = None
    ) -> httpx.Request:
        import httpx

        url = self.account.base_url + target
        return httpx.Request(
            method, url, headers=headers, content=content, extensions={"timeout": self._timeouts}
        )

    def _headers(self, service: Service) -> dict[str, str]:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "songflow"}
        headers.update(service.headers)
        if self.account.secret is not None:
            headers.update(self.account.dialect.authorization(self.account.secret))
        return headers

    def _transport(self, paid: bool) -> httpx.AsyncBaseTransport:
        """The transport for paid or for free requests, without what a client adds: cookies, redirects, sign-in.

        A paid request gets a fresh connection: on a stale one, a request that was never read looks like a lost answer.
        """
        if self._closed:
            raise RuntimeError("this gateway is closed")
        if paid not in self._transports:
            self._transports[paid] = open_transport(
                verify=None if self.account.is_secure else _no_tls_context(),
                kept=0 if paid else KEPT_CONNECTIONS,
            )
        return self._transports[paid]

    def _describe(self, error: Exception) -> str:
        if isinstance(error, _WithheldError):
            return str(error)
        if type(error) is TimeoutError:
            return f"no complete answer within {self._total_timeout:g} s"
        return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class _WithheldError(Exception):
    """Raised inside httpx directly before the first byte, so that nothing is sent."""


class _Exchange:
    """One request in flight: whether it left, and the part of its answer that has arrived."""

    def __init__(self, limit: int, why_not: WhyNot | None) -> None:
        self.left = False
        self.complete = False
        self._why_not = why_not
        self._limit = limit
        self._status: int | None = None
        self._headers: dict[str, str] = {}
        self._raw = bytearray()
        self._truncated = False
        self._stream: httpcore.AsyncNetworkStream | None = None

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Called by the transport; its "started" event comes when the connection, TLS included, is open."""
        if event == "connection.connect_tcp.complete":
            self._stream = info["return_value"]
        if event != "http11.send_request_headers.started" or info["request"].method == b"CONNECT":
            return
        if self._why_not is not None and (reason := self._why_not()) is not None:
            raise _WithheldError(reason)
        self.left = True

    async def read(self, response: httpx.Response) -> None:
        """Read the answer, up to the limit."""
        self._status = response.status_code
        self._headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
        assert isinstance(response.stream, AsyncIterable)
        # As it comes: an encoding is undone when everything is here, and what cannot be undone is kept.
        async for chunk in response.stream:
            room = self._limit - len(self._raw)
            self._raw += chunk[:room]
            if len(chunk) > room:
                self._truncated = True
                break
        self.complete = True

    async def hang_up(self) -> None:
        """Close a connection that never carried the request.

        httpcore, which requests through a proxy use, leaves its socket open when a TLS handshake is cancelled.
        """
        if self._stream is not None and not self.left:
            with contextlib.suppress(Exception):
                await self._stream.aclose()

    def answer(self, redact: Redactor) -> Answer | None:
        """The part of the answer that has arrived, ready to be stored; None without a status."""
        if self._status is None:
            return None
        headers = {name: redact(value) for name, value in self._headers.items()}
        body = read_body(bytes(self._raw), self._headers.get("content-encoding", ""), self._limit)
        if body.lost:
            headers |= raw_header(bytes(self._raw), body.text, redact)
        truncated = self._truncated or body.truncated or not self.complete
        return Answer(self._status, headers, redact(body.text), truncated)


@functools.cache
def _no_tls_context() -> ssl.SSLContext:
    """A cheap context for plain http; it trusts no certificate, so it would fail closed."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _lists_any(result: Report | FetchProblem, track_ids: Sequence[str]) -> bool:
    """True if an answer lists one of the track ids, or any song if no track ids are known."""
    if isinstance(result, FetchProblem):
        return False
    return any(take.song_id in track_ids for take in result.takes) if track_ids else bool(result.takes)


def _better(first: Report | FetchProblem | None, second: Report | FetchProblem) -> Report | FetchProblem:
    """The better of two answers without the track ids: the one with songs, else the first report."""
    if isinstance(first, Report) and not (isinstance(second, Report) and second.takes):
        return first
    return second
