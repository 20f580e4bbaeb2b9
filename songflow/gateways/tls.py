"""One TLS context for all clients of a process, since reading the certificate authorities takes 20 ms."""

from __future__ import annotations

import functools
import ssl

__all__ = ["tls_context"]


@functools.cache
def tls_context() -> ssl.SSLContext:
    """The context that httpx makes by default: it trusts the certificate authorities of certifi."""
    import httpx

    return httpx.create_ssl_context()
