"""`songflow generate`: one paid generation from a prompt to songs on disk."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cli.accounts import access_of
from cli.options import SONG, Common, Gateway, Paying, Song, Waiting, cleaned
from cli.output import Output
from cli.paid_command import NewSong, named, run_paid
from songflow.errors import InputError
from songflow.families.family import Mode, Request
from songflow.generation.repeats import read_song_metadata, request_like, require_source

__all__ = ["generate"]


def generate(
    prompt: str | None = None,
    /,
    *,
    like: Annotated[Path | None, Parameter(group=SONG)] = None,
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
        What the song is like; with lyrics of your own, tags of its style. With --like: instead of that song's.
    like
        Repeat the request of a stored song, read from its file; every option overrides its part.
    """
    with named(paying.key):
        for part in (paying, gateway, waiting):
            part.check()
        request = _request(prompt, like, song, paying, gateway)
    output = Output(as_json=common.json, quiet=common.quiet)
    result = run_paid(output, NewSong(request), paying, gateway, waiting, common)
    output.result(result, common.library_settings().unit)


def _request(prompt: str | None, like: Path | None, song: Song, paying: Paying, gateway: Gateway) -> Request:
    if like is None:
        if prompt is None:
            raise InputError("A prompt is required.", next="say what the song is like; nothing was sent.")
        return song.request(prompt)
    if prompt is not None and os.path.isfile(prompt):  # noqa: PTH113 - a Path of a long prompt raises
        raise InputError(
            f"With --like {like} the file {prompt} is given as the prompt.",
            next="give one file (a shell pattern may match several); nothing was sent.",
        )
    metadata = read_song_metadata(like)
    given = {} if prompt is None else {"prompt": cleaned(prompt)}
    request = request_like(metadata, {**given, **song.fields()})
    if request.mode is not Mode.REGULAR:
        asked = asyncio.run(access_of(gateway))
        require_source(metadata, [asked, *paying.safety().fallback_accounts()])
    return request
