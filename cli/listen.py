"""`songflow listen`: the library in a browser on this machine."""

from __future__ import annotations

from cli.options import Common
from cli.output import Output
from songflow.errors import InputError

__all__ = ["listen"]


def listen(*, port: int = 8766, common: Common = Common()) -> None:
    """Open the listening room until Ctrl-C: hear the library's songs, compare takes, rate them.

    It is for this machine only, at 127.0.0.1.

    Parameters
    ----------
    port
        The port to listen on; 0 takes a free one.
    """
    output = Output(as_json=common.json, quiet=common.quiet)
    settings = common.existing_library()
    if not 0 <= port <= 65535:
        raise InputError(f"--port is {port}: allowed are 0 (takes a free one) to 65535.", next="correct it.")
    from songflow.listening import serve_room

    def ready(url: str) -> None:
        if output.as_json:
            output.object({"url": url})
        output.say(f"The listening room is open at {url} (Ctrl-C closes it).")

    try:
        serve_room(settings, port, ready)
    except OSError as error:
        raise InputError(
            f"The listening room cannot use port {port}: {error.strerror or error}.",
            next="choose another --port (0 takes a free one).",
        ) from None
