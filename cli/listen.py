"""`songflow listen`: the library in a browser on this machine."""

from __future__ import annotations

import ssl
from pathlib import Path

from cli.options import Common
from cli.output import Output
from songflow.errors import InputError
from songflow.settings import room_token

__all__ = ["listen"]


def listen(
    *,
    port: int = 8766,
    host: str = "127.0.0.1",
    token_file: Path | None = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    behind_proxy: str | None = None,
    common: Common = Common(),
) -> None:
    """Open the listening room until Ctrl-C: hear the library's songs, compare takes, rate them.

    It is for this machine only, at 127.0.0.1, unless it gets a token and TLS or a proxy.

    Parameters
    ----------
    port
        The port to listen on; 0 takes a free one.
    host
        For a team: the name or IPv4 address of this machine that the others use.
    token_file
        The file of the token that the others give as password (else SONGFLOW_ROOM_TOKEN).
    tls_cert
        The file of the certificate (PEM) for https.
    tls_key
        The file of its key.
    behind_proxy
        The https address of a proxy in front of the room, such as https://songs.example.com.
    """
    output = Output(as_json=common.json, quiet=common.quiet)
    settings = common.existing_library()
    if not 0 <= port <= 65535:
        raise InputError(f"--port is {port}: allowed are 0 (takes a free one) to 65535.", next="correct it.")
    if (tls_cert is None) != (tls_key is None):
        raise InputError("A certificate and its key belong together.", next="give --tls-cert and --tls-key.")
    from cli.accounts import resolve
    from cli.room_orders import flow_starter
    from songflow.listening import listening_app
    from songflow.listening.team import team_of
    from songflow.runtime.serving import serve_app

    tls = None if tls_cert is None or tls_key is None else (tls_cert, tls_key)
    team = team_of(host, room_token(token_file), tls=tls, proxy=behind_proxy)

    def ready(url: str) -> None:
        if output.as_json:
            output.object({"url": url})
        output.say(f"The listening room is open at {url} (Ctrl-C closes it).")

    try:
        app = listening_app(settings, team, resolver=resolve, starter=flow_starter(common))
        serve_app(app, host, port, ready, tls=tls)
    except ssl.SSLError as error:
        raise InputError(
            f"The certificate cannot be used: {error.reason or error}.",
            next="give --tls-cert and --tls-key in PEM format, of each other.",
        ) from None
    except OSError as error:
        raise InputError(
            f"The listening room cannot use port {port} of {host}: {error.strerror or error}.",
            next="choose another --port (0 takes a free one) or --host.",
        ) from None
