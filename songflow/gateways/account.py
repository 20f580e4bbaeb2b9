"""An account: a gateway, a base URL, and a key that is never shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from songflow.gateways.callback import Callback
from songflow.gateways.dialect import Dialect, check_base_url

if TYPE_CHECKING:
    # Only the type: importing pydantic takes 150 ms, and code that has a SecretStr has imported it already.
    from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class Account:
    """One key at one gateway.

    Attributes:
        base_url: If empty, the dialect's own.
        alias: The account's name in the ledger, such as "env:COMETAPI_KEY".
        callback: Where the gateway may report the end of a generation, if it can.

    Raises:
        ValueError: the base URL is not an http(s) URL, or the key cannot be sent in a header (the key is not in the
            message).
    """

    dialect: Dialect
    base_url: str = ""
    alias: str = ""
    key: SecretStr | None = None
    callback: Callback | None = None

    def __post_init__(self) -> None:
        url = self.base_url or self.dialect.base_url
        if not url:
            raise ValueError(f"the gateway {self.dialect.name!r} has no address of its own: give a base URL")
        object.__setattr__(self, "base_url", check_base_url(url))
        if self.secret is not None:
            _check_key(self.secret)

    @property
    def secret(self) -> str | None:
        """The key in clear text; only for the authorization header."""
        return None if self.key is None else self.key.get_secret_value()

    @property
    def fingerprint(self) -> str:
        """The first 12 hex digits of the key's SHA-256, or "none": tells keys apart without revealing them."""
        return "none" if self.secret is None else sha256(self.secret.encode()).hexdigest()[:12]

    def file_headers(self, url: str) -> Mapping[str, str]:
        """The headers of a request for a song's file: the key, if the file is at the gateway's own address."""
        if self.secret is None or _origin(url) != _origin(self.base_url):
            return {}
        return self.dialect.authorization(self.secret)

    @property
    def is_secure(self) -> bool:
        """True if the connection uses TLS."""
        return self.base_url.startswith("https:")


def _origin(url: str) -> tuple[str, str | None, int | None] | None:
    """The scheme, host and port of a URL; None for one that cannot be read, which equals no other."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port
    except ValueError:
        return None


def _check_key(secret: str) -> None:
    """Refuse a key that no header can carry, with a clear message that leaves the key out."""
    if not secret:
        raise ValueError("the gateway's key is empty")
    if not all("!" <= character <= "~" for character in secret):
        raise ValueError(
            "the gateway's key holds white space, control or non-ASCII characters (was a line break copied?)"
        )
