"""Decide whether a command becomes a Prefect flow run: if a Prefect server is configured and answers.

A flow run without a server would start an ephemeral one, which takes about 13 s before the first request
leaves. Without a server the command runs the same steps in plain Python; the ledger is the truth either way.
"""

from __future__ import annotations

import logging
import socket
import tomllib
from urllib.parse import urlsplit

from songflow.settings import PrefectSettings

__all__ = ["configured_api_url", "server_answers", "use_prefect"]

log = logging.getLogger(f"songflow.{__name__}")

_CONNECT_SECONDS = 2.0


def use_prefect() -> bool:
    """True if PREFECT_API_URL is set (environment or active profile) and its server can be reached."""
    if not PrefectSettings.from_environment().enabled:
        return False
    url = configured_api_url()
    if url is None:
        return False
    if server_answers(url):
        return True
    log.warning(
        "The Prefect server at %s does not answer: running without it; nothing is lost, the ledger records everything.",
        url,
    )
    return False


def configured_api_url() -> str | None:
    """The URL that Prefect would use, read without importing Prefect (which takes over a second)."""
    given = PrefectSettings.from_environment()
    if given.api_url:
        return given.api_url
    path = given.profiles_path or given.home.expanduser() / "profiles.toml"
    try:
        profiles = tomllib.loads(path.read_text())
        name = given.profile or profiles.get("active", "")
        found: str | None = profiles.get("profiles", {}).get(name, {}).get("PREFECT_API_URL")
        return found
    except (OSError, ValueError, AttributeError):
        return None


def server_answers(url: str) -> bool:
    """True if the host and port of a URL accept connections."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=_CONNECT_SECONDS):
            return True
    except OSError:
        return False
