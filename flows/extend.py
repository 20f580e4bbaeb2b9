"""The flow that extends a song by an intro, an outro or more of it, at the gateway that made it."""

# Without `from __future__ import annotations`: Prefect would evaluate them where `fields` is something else.
from dataclasses import replace
from typing import Annotated, Literal

from prefect import runtime

from blocks.credentials import GatewayBlock
from flows import ended, fields
from flows.generate import chosen_access, make_songs
from flows.song_flow import paid_flow
from songflow.families.parameters import (
    ExtensionDetails,
    ExtensionPlacement,
    ExtensionSound,
    inherited_text,
)
from songflow.generation.extensions import plan_extension
from songflow.generation.results import GenerationResult
from songflow.parameters import EnvironmentAccount, Waiting, members, session_settings
from tasks.runs import request_key, short
from tasks.sessions import library_of, open_session
from tasks.ui.lineage import show_lineage

__all__ = ["extend_song"]

DEFAULT_STEP = "extension"

SongId = Annotated[
    str,
    fields.described(
        "Song id", "The song to extend: the gateway's id, as `songflow songs` shows it.", min_length=1
    ),
]
Place = Annotated[
    Literal["intro", "front", "back", "outro"] | None,
    fields.described(
        "Place",
        "intro or front: before the song; back or outro: after it. Empty: outro, or as the placement below says.",
    ),
]
Prompt = Annotated[str | None, fields.described("Prompt", inherited_text("prompt"), min_length=1)]
Lyrics = Annotated[str | None, fields.described("Lyrics", inherited_text("lyrics"))]
LyricsType = Annotated[
    Literal["user", "instrumental", "generate"] | None,
    fields.described("Lyrics type", inherited_text("lyrics_type")),
]
Seed = Annotated[int | None, fields.described("Seed", inherited_text("seed"), ge=-1, strict=True)]
Credentials = Annotated[
    GatewayBlock | None,
    fields.described("Credentials", "The account that pays. None: the one that made the song."),
]
Sound = Annotated[
    ExtensionSound | None,
    fields.described(
        "Sound",
        "Model, what to avoid, strengths and quality, where they differ from the song's. Defaults: as for the song.",
    ),
]
Placement = Annotated[
    ExtensionPlacement | None,
    fields.described(
        "Placement",
        "Where the new part is placed, in more detail than by its name. Defaults: as its name says.",
    ),
]
DetailsOfExtension = Annotated[
    ExtensionDetails | None,
    fields.described(
        "Details",
        "What only some models take; for those that continue a song at a second of it: where, and what to do with the "
        "new part.",
    ),
]
Account = Annotated[
    EnvironmentAccount | None,
    fields.described(
        "Gateway without a block",
        "For a song that is not in this library: a gateway whose key is in the environment of the worker. Defaults: "
        "the song's own gateway.",
    ),
]


def _run_name() -> str:
    parameters = runtime.flow_run.parameters
    place = parameters.get("place") or getattr(parameters.get("placement"), "mode", None) or "more"
    return short(f"{place} for {parameters.get('song_id')}")


@paid_flow(
    "extend-song",
    _run_name,
    moved=members(
        sound=ExtensionSound,
        placement=ExtensionPlacement,
        details=ExtensionDetails,
        account=EnvironmentAccount,
        waiting=Waiting,
        safety=fields.SongSafety,
    ),
    ended=ended.made,
)
async def extend_song(
    song_id: SongId,
    place: Place = None,
    prompt: Prompt = None,
    lyrics: Lyrics = None,
    lyrics_type: LyricsType = None,
    seed: Seed = None,
    credentials: Credentials = None,
    library: fields.Library = None,
    budget: fields.Budget = None,
    sound: Sound = None,
    placement: Placement = None,
    details: DetailsOfExtension = None,
    account: Account = None,
    waiting: fields.Wait = None,
    safety: fields.PaySafely = None,
) -> GenerationResult:
    """Extend a song: **pay once**, wait for the gateway, store every take, and check that each contains the song.

    Empty parameters are inherited from the song. It is extended by the **gateway and account that made it**: no
    other has it. A song that is not in this library needs a gateway (or credentials) and a prompt.

    - A retry of this run, or of the flow that called it, collects what was paid for and pays nothing more.
    - Several extensions in one parent flow need a step each: `extend_song(..., safety={"step": "intro"})`.
    - Cancelling this run does not cancel the gateway's work, which is billed. `songflow rescue` collects it.
    """
    asked = {"prompt": prompt, "lyrics": lyrics, "lyrics_type": lyrics_type, "seed": seed}
    placed = (placement or ExtensionPlacement()).given()
    mode = placed.pop("mode", None)
    named = credentials is not None or not (account is None or account.is_empty)
    safety = safety or fields.SongSafety()
    details = details or ExtensionDetails()
    policy = safety.policy()
    settings = replace(session_settings(waiting, safety, budget), join=details.join)
    async with open_session(library_of(library), settings) as session:
        planned = await plan_extension(
            session,
            song_id,
            chosen_access(credentials, account) if named else None,
            mode=mode,
            place=place,
            overrides={
                **{name: value for name, value in asked.items() if value is not None},
                **(sound or ExtensionSound()).given(),
                **placed,
                **details.fields(),
            },
            fallbacks=policy.fallbacks,
        )
        result = await make_songs(
            planned.request,
            planned.access,
            key=safety.key or await request_key(safety.step or DEFAULT_STEP),
            library=library,
            settings=settings,
            policy=policy,
        )
        await show_lineage(session, result)
        return result
