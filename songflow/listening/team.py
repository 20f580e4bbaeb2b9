"""Whether and how a room may be open to others: by a name, with a token, and never in the clear."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from songflow.errors import InputError
from songflow.listening.access import Team

__all__ = ["team_of"]

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


def team_of(
    host: str, token: SecretStr | None, *, tls: tuple[Path, Path] | None = None, proxy: str | None = None
) -> Team | None:
    """Who may use a room at a host; None if it is open to this machine only.

    Args:
        host: The address or name of this machine at which the room listens.
        token: What a team's members know.
        tls: The files of the certificate and its key.
        proxy: The https address of a proxy in front of the room.

    Raises:
        InputError: others could use it without a token, read it on the way, or by any name.
    """
    name = host.lower()
    if name in {"0.0.0.0", "::", ""} or not _NAME.fullmatch(name):
        raise InputError(
            f"--host is {host!r}: the room must know the name by which it is asked, so that no other site's name can "
            "lead to it.",
            next="give the name or IPv4 address of this machine that the others use.",
        )
    for file in tls or ():
        if not file.is_file():
            raise InputError(f"There is no file {file}.", next="give --tls-cert and --tls-key in PEM format.")
    public = None if proxy is None else _public_host(proxy)
    is_open = proxy is not None or not _is_this_machine(name)
    if is_open and token is None:
        raise InputError(
            "A room that others can reach needs a token.",
            next="put 16 random characters or more into a file for --token-file, or into SONGFLOW_ROOM_TOKEN.",
        )
    if is_open and tls is None and proxy is None:
        raise InputError(
            "The token and the songs would be readable on the way.",
            next="give --tls-cert and --tls-key, or --behind-proxy with the https address of a proxy in front.",
        )
    if token is None:
        return None
    if public is not None:
        host, port = public
        origin = f"https://{host}{'' if port in {None, 443} else f':{port}'}"
        return Team(token, host, origin, encrypted=tls is not None)
    return Team(token, name, encrypted=tls is not None)


def _public_host(proxy: str) -> tuple[str, int | None]:
    """Host and port of a proxy's address, which has nothing else."""
    try:
        parts = urlsplit(proxy)
        if (
            parts.scheme == "https"
            and parts.hostname
            and not (parts.path.strip("/") or parts.query or parts.username)
        ):
            return parts.hostname, parts.port
    except ValueError:  # no port, or half of an IPv6 address
        pass
    raise InputError(
        f"--behind-proxy is {proxy!r}: allowed is an address such as https://songs.example.com.",
        next="give the address by which the others reach the proxy.",
    )


def _is_this_machine(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
