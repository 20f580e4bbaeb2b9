"""`songflow webhooks`: take gateways' callbacks."""

from __future__ import annotations

from cli.options import Common
from cli.output import Output
from songflow.errors import InputError
from songflow.settings import webhook_callback

__all__ = ["webhooks"]


def webhooks(*, host: str = "127.0.0.1", port: int = 8767, common: Common = Common()) -> None:
    """Take callbacks until Ctrl-C, so that waits notice an end within a second instead of at their next poll.

    SONGFLOW_WEBHOOK_URL is the public address that leads here, SONGFLOW_WEBHOOK_SECRET what callbacks are checked by;
    set both wherever songs are made.

    Parameters
    ----------
    host
        The address to listen on; put a server with TLS in front of it.
    port
        The port to listen on; 0 takes a free one.
    """
    output = Output(as_json=common.json, quiet=common.quiet)
    settings = common.existing_library()
    callback = webhook_callback()
    if callback is None:
        raise InputError(
            "SONGFLOW_WEBHOOK_URL is not set.",
            next="set it to the public address that leads here, and SONGFLOW_WEBHOOK_SECRET.",
        )
    if not 0 <= port <= 65535:
        raise InputError(f"--port is {port}: allowed are 0 (takes a free one) to 65535.", next="correct it.")
    from songflow.runtime.serving import serve_app
    from songflow.webhooks import webhook_app

    def ready(url: str) -> None:
        if output.as_json:
            output.object({"url": url, "public_url": callback.url})
        output.say(f"Callbacks to {callback.url} are taken at {url} (Ctrl-C ends it).")

    try:
        serve_app(webhook_app(settings, callback.secret), host, port, ready)
    except OSError as error:
        raise InputError(
            f"{host}:{port} cannot be used: {error.strerror or error}.",
            next="choose another --host or --port (0 takes a free one).",
        ) from None
