"""One TLS context for all clients of a process, since reading the certificate authorities takes 20 ms."""

from __future__ import annotations

import functools
import os
import ssl
from pathlib import Path

__all__ = ["NetworkProblem", "tls_context"]

_SHOWN = 80


class NetworkProblem(ValueError):
    """A variable of the environment with which no HTTP client can be opened.

    Attributes:
        mend: What to do about it, in the imperative.
    """

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(message)
        self.mend = mend


def tls_context() -> ssl.SSLContext:
    """The context that httpx makes by default: it trusts the authorities of certifi, SSL_CERT_FILE or SSL_CERT_DIR.

    Raises:
        NetworkProblem: the authorities cannot be read; names the variable.
    """
    named = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
    return _tls_context(*(os.environ.get(name, "") for name in named))


@functools.lru_cache(maxsize=4)
def _tls_context(file: str, folder: str, key_log: str) -> ssl.SSLContext:
    import httpx

    if folder and not file and not Path(folder).is_dir():
        raise _unusable("SSL_CERT_DIR", folder, "there is no such folder")
    try:
        return httpx.create_ssl_context()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if key_log and not _can_append(key_log):
            raise _unusable("SSLKEYLOGFILE", key_log, reason) from None
        raise _unusable("SSL_CERT_FILE", file, reason) from None


def _can_append(file: str) -> bool:
    try:
        with Path(file).open("ab"):
            return True
    except OSError:
        return False


def _unusable(variable: str, value: str, reason: str) -> NetworkProblem:
    return NetworkProblem(
        f"{variable} is {value[:_SHOWN]!r}, which cannot be used: {reason}",
        f"correct {variable}, or unset it",
    )
