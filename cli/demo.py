"""`songflow demo`: the main job on the built-in simulator, without a key and without set-up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.options import Common
from cli.output import Output
from songflow.access import access_from_environment
from songflow.api import generate_in, mint_key
from songflow.manifest import read_manifest
from songflow.request import PLACES, SongRequest
from songflow.results import GenerationResult
from songflow.session import Session, SessionSettings

__all__ = ["demo"]

DEMO_SPEED = 30.0

_LYRICS = """[Verse]
Morning opens on the water, every window has a light
We are walking to the harbour with the colours of the night
[Chorus]
Carry me over, carry me home
"""


@dataclass(frozen=True)
class _Step:
    name: str
    place: str | None
    prompt: str
    lyrics: str = ""


_STEPS = (
    _Step("core", None, "bright synth pop, 112 bpm, major, warm pads, female voice", _LYRICS),
    _Step("intro", "intro", "soft opening, pads and a slow arpeggio, no drums"),
    _Step("outro", "outro", "gentle ending, fading bells"),
)


def demo(*, common: Common = Common()) -> None:
    """Make a song, give it an intro and an outro, and show the manifest: on the simulator, with no key."""
    output = Output(as_json=common.json, quiet=common.quiet)
    asyncio.run(_demo(output, common))


async def _demo(output: Output, common: Common) -> None:
    settings = SessionSettings(embedded_speed=DEMO_SPEED)
    run = mint_key().replace("song-", "demo-")
    results: list[GenerationResult] = []
    async with Session(common.library_settings(), settings) as session:
        for step in _STEPS:
            source = results[-1].stored[0].song_id if results else None
            request = _request(step, source)
            async with output.waiting(step.name) as progress:
                result = await generate_in(
                    session,
                    request,
                    access_from_environment("simulator"),
                    key=f"{run}:{step.name}",
                    if_unsettled="new",  # nothing is paid here: an interrupted demo does not stand in the way
                    progress=progress,
                )
            results.append(result)
        frame = await read_manifest(session.library.ledger)
    final = results[-1].stored[0]
    if output.as_json:
        output.object({"steps": [result.as_dict() for result in results], "song": final.path})
        return
    output.manifest(frame[frame["key"].str.startswith(f"{run}:")])
    output.out.print()
    output.out.print(f"The whole song (simulated, {final.duration or 0:.0f} s): {final.path}", markup=False)
    output.out.print(
        f"Open it in any player; all songs are in {Path(final.path or '').parent}. "
        "For real ones: songflow generate --gateway cometapi (README).",
        markup=False,
    )


def _request(step: _Step, source: str | None) -> SongRequest:
    fields: dict[str, Any] = {"prompt": step.prompt, "lyrics": step.lyrics, "seed": 7}
    if step.place is not None:
        mode, start = PLACES[step.place]
        fields |= {"mode": mode, "song_section_start": start, "source_song_id": source}
        fields |= {"lyrics_type": "instrumental"}
    return SongRequest.parse(fields)
