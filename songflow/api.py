"""Songflow from plain Python: the whole way from a request to songs on disk, without Prefect."""

from __future__ import annotations

from typing import Any

from songflow.accounts import access_from_environment
from songflow.families.udio import SongRequest
from songflow.generation.extensions import plan_extension
from songflow.generation.lifecycle import generate_in, mint_key
from songflow.generation.policy import IfUnsettled, PayingPolicy
from songflow.generation.results import GenerationResult
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from songflow.settings import LibrarySettings

__all__ = ["extend", "generate"]


async def generate(
    prompt: str,
    *,
    key: str | None = None,
    gateway: str | None = None,
    base_url: str | None = None,
    library: str | None = None,
    settings: SessionSettings | None = None,
    if_unsettled: IfUnsettled = "stop",
    **fields: Any,
) -> GenerationResult:
    """Make songs: submit one paid generation, wait for it, store its songs.

    Args:
        prompt: What the song is like.
        key: The request key: the same key never pays twice (None: a new one is minted).
        gateway: "simulator" (the default: no key, no cost), "cometapi", "openai-hk" or "custom".
        base_url: The gateway's address where it is not the published one.
        library: The library's folder (None: SONGFLOW_LIBRARY, else `./songs`).
        settings: Polling, deadline and repeats.
        if_unsettled: "stop" where the same body is unsettled under another key, or "new" to pay all the same.
        **fields: Any other field of `SongRequest`.

    Raises:
        SongflowError: the tree of `songflow.errors`; each message says what it cost and what to do next.
    """
    request = SongRequest.parse({"prompt": prompt, **fields})
    access = access_from_environment(gateway, base_url)
    async with Session(LibrarySettings.from_environment(library), settings) as session:
        policy = PayingPolicy(if_unsettled=if_unsettled)
        return await generate_in(session, request, access, key=key or mint_key(), policy=policy)


async def extend(
    song_id: str,
    *,
    mode: str | None = None,
    place: str | None = None,
    key: str | None = None,
    gateway: str | None = None,
    base_url: str | None = None,
    library: str | None = None,
    settings: SessionSettings | None = None,
    if_unsettled: IfUnsettled = "stop",
    **overrides: Any,
) -> GenerationResult:
    """Extend a song: what is not said is as its parent was asked for, at the gateway that has it.

    Args:
        song_id: The gateway's id of the song, as `songflow songs` shows it.
        mode: "precede" or "continuation" (None: that of the place, else continuation).
        place: "intro", "front", "back" or "outro" (None: intro for precede, outro for continuation).
        gateway: None: the song's own. For a song that this library does not know: where it is.
        **overrides: Any other field of `SongRequest`; a song that this library does not know needs `prompt`.

    The other arguments are those of `generate`.

    Raises:
        SongflowError: the tree of `songflow.errors`; each message says what it cost and what to do next.
    """
    given = None if gateway is None and base_url is None else access_from_environment(gateway, base_url)
    async with Session(LibrarySettings.from_environment(library), settings) as session:
        planned = await plan_extension(session, song_id, given, mode=mode, place=place, overrides=overrides)
        policy = PayingPolicy(if_unsettled=if_unsettled)
        return await generate_in(
            session, planned.request, planned.access, key=key or mint_key(), policy=policy
        )
