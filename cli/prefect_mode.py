"""Decide whether a command becomes a Prefect flow run: if a Prefect server is configured and answers as one.

A flow run without a server would start an ephemeral one, which takes about 13 s before the first request
leaves. Without a server the command runs the same steps in plain Python; the ledger is the truth either way.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import ssl
import tomllib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cli.logs import join_prefect_logs
from songflow.errors import InvalidEnvironment
from songflow.gateways.network import Proxies, open_client
from songflow.settings import PrefectSettings, require_network

if TYPE_CHECKING:
    import httpx

__all__ = ["PrefectServer", "configured_server", "load_prefect", "trouble_with", "use_prefect"]

log = logging.getLogger(f"songflow.{__name__}")

_ANSWER_SECONDS = 2.0
# A server that is well may take longer for the rest.
_ACCESS_SECONDS = 10.0
_ANSWER_BYTES = 1024
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
# Settings of Prefect that a profile may hold as well; the environment's take precedence.
_IN_PROFILES = ("api_url", "api_key", "api_auth_string", "api_ssl_cert_file", "api_tls_insecure_skip_verify")
_URL_ADVICE = (
    "write it as http://HOST:4200/api, or unset it (SONGFLOW_PREFECT=off ignores it); nothing was sent."
)


@dataclass(frozen=True, slots=True)
class PrefectServer:
    """The Prefect API that Prefect itself would use.

    Attributes:
        url: Its address.
        authorization: The header that its password or key makes; None without one.
        cert_file: The certificate authorities to trust instead of the usual ones.
        insecure: Trust any certificate.
    """

    url: str
    authorization: str | None = field(default=None, repr=False)
    cert_file: str | None = None
    insecure: bool = False

    @property
    def shown(self) -> str:
        """The address for people, without a user name and password."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    def tls(self) -> ssl.SSLContext | None:
        """The TLS context for it; None: the usual one.

        Raises:
            InvalidEnvironment: its certificate authorities cannot be read.
        """
        if self.insecure:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            return context
        if self.cert_file is None:
            return None
        try:
            return ssl.create_default_context(cafile=self.cert_file)
        except OSError as error:
            raise InvalidEnvironment(
                f"PREFECT_API_SSL_CERT_FILE is {self.cert_file!r}, which cannot be used: {error.strerror or error}.",
                next="correct it, or unset it; nothing was sent.",
            ) from None


async def use_prefect() -> bool:
    """True if PREFECT_API_URL is set (environment or active profile) and a Prefect server answers there.

    Raises:
        InvalidEnvironment: the address, a proxy or another setting that Prefect would read cannot be used.
    """
    if not PrefectSettings.from_environment().enabled:
        return False
    server = configured_server()
    if server is None:
        return False
    trouble = await trouble_with(server)
    if trouble is None:
        load_prefect()
        join_prefect_logs()
        _keep_options()
        return True
    log.warning(
        "The Prefect server at %s %s: running without it; nothing is lost, the ledger records everything.",
        server.shown,
        trouble,
    )
    return False


def configured_server() -> PrefectServer | None:
    """The server that Prefect would use, read without importing Prefect (which takes over a second).

    Raises:
        InvalidEnvironment: its address is no URL.
    """
    given = PrefectSettings.from_environment()
    profile = _profile(given)
    found = {name: getattr(given, name) or profile.get(f"PREFECT_{name.upper()}") for name in _IN_PROFILES}
    url = found["api_url"]
    if not url:
        return None
    return PrefectServer(
        _checked(url, "PREFECT_API_URL" if given.api_url else "PREFECT_API_URL of Prefect's active profile"),
        _authorization(found["api_auth_string"], found["api_key"]),
        found["api_ssl_cert_file"] or None,
        str(found["api_tls_insecure_skip_verify"]).lower() in {"true", "1", "yes", "on"},
    )


async def trouble_with(server: PrefectServer) -> str | None:
    """Ask a server, for two seconds at most, whether it is Prefect's and well, and whether it lets us in.

    Returns:
        Why it cannot be used, as the rest of a sentence about it; None if it can.

    Raises:
        InvalidEnvironment: no HTTP client can be opened to ask.
    """
    require_network()
    context = server.tls()
    import httpx

    headers = {"Authorization": server.authorization} if server.authorization else {}
    address = server.url.rstrip("/")
    try:
        async with open_client(verify=context, timeout=_ACCESS_SECONDS, headers=headers) as client:
            async with asyncio.timeout(_ANSWER_SECONDS):
                status, body = await _get(client, f"{address}/health")
            if status != 200 or not _is_health(body):
                if status >= 500:
                    return f"is not well (HTTP {status})"
                meant = f"{server.shown.rstrip('/')}/api"
                hint = f"; did you mean {meant}?" if await _is_well(client, f"{address}/api") else ""
                return f"is no Prefect server (HTTP {status}){hint}"
            # Prefect tells anybody that it is healthy, also who may not use it.
            async with asyncio.timeout(_ACCESS_SECONDS):
                status, _ = await _get(client, f"{address}/admin/version")
    except (TimeoutError, httpx.TimeoutException):
        return f"does not answer within {_ANSWER_SECONDS:g} s"
    except httpx.ConnectError as error:
        return "has no valid TLS certificate" if "SSL" in str(error) else "does not answer"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"does not answer as one ({type(error).__name__})"
    if status in (401, 403):
        return "asks for a password or key that PREFECT_API_AUTH_STRING or PREFECT_API_KEY does not give"
    return None


def load_prefect() -> None:
    """Import Prefect, and let its requests to this machine go past a proxy as ours do.

    Raises:
        InvalidEnvironment: it refuses a setting of its own, or no HTTP client can be opened.
    """
    from pydantic import ValidationError

    require_network()
    _exempt_this_machine()

    try:
        import prefect.main  # noqa: F401
    except ValidationError as error:
        # Without the values, which may be secrets.
        names = ", ".join(sorted({".".join(map(str, fault["loc"])) for fault in error.errors()}))
        raise InvalidEnvironment(
            f"Prefect cannot read its settings: {names}.",
            next="correct the variable (PREFECT_...) or Prefect's profile; nothing was sent.",
        ) from None


def _keep_options() -> None:
    """Errors of runs that this command starts name its options, not the fields of a form."""
    from tasks.wording import keep_options

    keep_options()


async def _is_well(client: httpx.AsyncClient, address: str) -> bool:
    """True if a Prefect server answers at an address that was not given."""
    import httpx

    with suppress(TimeoutError, httpx.HTTPError, httpx.InvalidURL):
        async with asyncio.timeout(_ANSWER_SECONDS):
            status, body = await _get(client, f"{address}/health")
        return status == 200 and _is_health(body)
    return False


async def _get(client: httpx.AsyncClient, url: str) -> tuple[int, bytes]:
    """The status and the beginning of the body."""
    async with client.stream("GET", url) as answer:
        body = b""
        async for chunk in answer.aiter_raw():
            body += chunk
            if len(body) > _ANSWER_BYTES:
                break
        return answer.status_code, body


def _is_health(body: bytes) -> bool:
    try:
        return json.loads(body) is True
    except ValueError:
        return False


def _profile(given: PrefectSettings) -> dict[str, str]:
    """The settings of Prefect's active profile; none if there is no profile that can be read."""
    try:
        path = given.profiles_path or given.home.expanduser() / "profiles.toml"
        profiles = tomllib.loads(path.read_text())
        found = profiles.get("profiles", {}).get(given.profile or profiles.get("active", ""), {})
        return {name: str(value) for name, value in found.items()}
    except (OSError, ValueError, AttributeError, RuntimeError):  # RuntimeError: there is no home
        return {}


def _checked(url: str, name: str) -> str:
    try:
        parts = urlsplit(url.strip())
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        shown = url.rpartition("@")[2][:80]
        raise InvalidEnvironment(f"{name} is {shown!r}, which is no address of a server.", next=_URL_ADVICE)
    return url.strip()


def _authorization(password: str | None, key: str | None) -> str | None:
    if password:
        return f"Basic {base64.b64encode(password.encode()).decode()}"
    return f"Bearer {key}" if key else None


def _exempt_this_machine() -> None:
    """Let Prefect's own client, which knows only the environment, reach servers on this machine directly, too."""
    if Proxies.of_environment().by_scheme:
        known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY", "")
        names = [name.strip() for name in known.split(",") if name.strip()]
        os.environ["no_proxy"] = ",".join([*names, *(one for one in _THIS_MACHINE if one not in names)])
