"""Who may use the room: everybody on this machine, or a team with a token; and only from the room's own page.

Without a team nobody is asked for anything: every account of this machine can open the room, and order songs in it.

Other web sites must neither read nor change anything. So the Host header must name this machine, or the name that the
team uses (which stops DNS rebinding); a request from another origin is refused; and what changes something must be JSON
and carry the token that only the page has, which is new in each process. The page runs only its own scripts.

A team's members give the room's token as the password of HTTP's Basic authentication, and their names as the user's:
judgements are recorded under them. So it is never sent in the clear: over TLS, or behind a proxy that has it.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from fastapi import Request, Response
from pydantic import SecretStr

from songflow.settings import person

__all__ = ["HEADERS", "TOKEN_HEADER", "Access", "Team", "person_of"]

TOKEN_HEADER = "X-Songflow-Token"
"""The header with the token of the page, of requests that change something."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
_LONGEST_NAME = 100
_WITH_PORT = re.compile(r"([a-z0-9.-]+)(:[0-9]{1,5})?")
_THIS_MACHINE = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?")

Next = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Team:
    """Who knows a room's token, and how they reach it.

    Attributes:
        token: The password.
        name: The host in their addresses, without the port (None: only this machine's).
        origin: What their browsers state as the origin, if a proxy is between (None: the host that they ask).
        encrypted: Whether this process itself has TLS.
    """

    token: SecretStr
    name: str | None = None
    origin: str | None = None
    encrypted: bool = False


@dataclass(frozen=True, slots=True)
class Access:
    """The rules of one room. `page_token` is what its page sends with each change."""

    team: Team | None = None
    page_token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    async def __call__(self, request: Request, call_next: Next) -> Response:
        """Answer a request, or refuse it."""
        refusal = self._refusal(request)
        if refusal is not None:
            status, reason = refusal
            asks = {"WWW-Authenticate": 'Basic realm="Songflow", charset="UTF-8"'} if status == 401 else {}
            return Response(reason, status, {**HEADERS, **asks}, media_type="text/plain")
        response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    def _refusal(self, request: Request) -> tuple[int, str] | None:
        host = request.headers.get("host", "")
        origin = request.headers.get("origin")
        if not (_THIS_MACHINE.fullmatch(host) or self._is_team_name(host)):
            return (
                421,
                "The listening room can be used only on this machine, or by the name that it was given.",
            )
        if origin is not None and origin != self._own_origin(host):
            return 403, "Requests from other sites are not allowed."
        if self.team is not None and not self._knows_token(request, self.team.token):
            return 401, "The room's token is the password; the user name is yours, for what you say of songs."
        if self.team is not None and not request.state.person:
            return 401, "Give your name as user: what you say of songs is recorded under it."
        if request.method in {"GET", "HEAD"}:
            return None
        kind = request.headers.get("content-type", "").partition(";")[0].strip()
        if kind != "application/json":
            return 415, "The content type must be application/json."
        if not hmac.compare_digest(request.headers.get(TOKEN_HEADER, "").encode(), self.page_token.encode()):
            return 403, "The page is of an earlier room: reload it."
        return None

    def _is_team_name(self, host: str) -> bool:
        found = _WITH_PORT.fullmatch(host.lower())
        return found is not None and self.team is not None and found[1] == self.team.name

    def _own_origin(self, host: str) -> str:
        if self.team is None:
            return f"http://{host}"
        return self.team.origin or f"{'https' if self.team.encrypted else 'http'}://{host}"

    def _knows_token(self, request: Request, token: SecretStr) -> bool:
        name, password = _credentials(request.headers.get("authorization", ""))
        request.state.person = name
        return hmac.compare_digest(password.encode(), token.get_secret_value().encode())


def person_of(request: Request) -> str | None:
    """The name under which a request's judgements are recorded: the team member's, else this machine's user's."""
    given: str | None = getattr(request.state, "person", None)
    return person() if given is None else given


def _credentials(header: str) -> tuple[str, str]:
    """User and password of a Basic authentication; two empty texts without one."""
    kind, _, encoded = header.partition(" ")
    if kind.lower() != "basic":
        return "", ""
    try:
        name, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return name.strip()[:_LONGEST_NAME], password
