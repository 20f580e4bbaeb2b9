"""`songflow generate`: one paid generation from a prompt to songs on disk."""

from __future__ import annotations

from cli.options import Common, Gateway, Paying, Song, Waiting
from cli.output import Output
from cli.paid_command import named, run_paid

__all__ = ["generate"]


def generate(
    prompt: str,
    /,
    *,
    song: Song = Song(),
    paying: Paying = Paying(),
    gateway: Gateway = Gateway(),
    waiting: Waiting = Waiting(),
    common: Common = Common(),
) -> None:
    """Make songs from a prompt: on the built-in simulator, or through a gateway with --gateway.

    Parameters
    ----------
    prompt
        What the song is like; with lyrics of your own, tags of its style.
    """
    with named(paying.key):
        for part in (paying, gateway, waiting):
            part.check()
        request = song.request(prompt)
    output = Output(as_json=common.json, quiet=common.quiet)
    output.result(run_paid(output, request, paying, gateway, waiting, common))
