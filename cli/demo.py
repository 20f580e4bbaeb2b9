"""`songflow demo`: the main job on the built-in simulator, without a key and without set-up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from cli.options import Common
from cli.output import Output
from cli.tree import show_trees, write_picture
from songflow.accounts import Access, access_from_environment, gateway_names
from songflow.catalog.lineage import families, trees
from songflow.catalog.manifest import read_manifest
from songflow.families.family import Request
from songflow.families.registry import parse_request
from songflow.generation.extensions import plan_extension
from songflow.generation.lifecycle import generate_in, mint_key
from songflow.generation.policy import PayingPolicy
from songflow.generation.results import GenerationResult
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from songflow.ledger.rows import Song, SourceFound
from songflow.library.source_check import compare_songs

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
    # Every demo makes other songs, and one key always the same.
    seed = int(run.removeprefix("demo-")[:7], 16)
    results: list[GenerationResult] = []
    async with Session(common.library_settings(), settings) as session:
        for step in _STEPS:
            request, access = await _planned(session, step, results, seed)
            with output.waiting(f"step {len(results) + 1} of {len(_STEPS)} ({step.name})") as progress:
                await progress.expect(session, access, request.model_type, request.mode.value)
                result = await generate_in(
                    session,
                    request,
                    access,
                    key=f"{run}:{step.name}",
                    # Nothing is paid here: an interrupted demo is no reason to stop.
                    policy=PayingPolicy(if_unsettled="new"),
                    progress=progress,
                )
            results.append(result)
        frame = await read_manifest(session.library.ledger)
        made = frame[frame["key"].str.startswith(f"{run}:")]
        core, whole = [await _first(session, result) for result in (results[0], results[-1])]
        found = await compare_songs(session.library, core, whole)
    roots = families(trees(made))
    picture = common.library_settings().folder / f"{run}.png"
    write_picture(picture, roots)
    final = results[-1].stored[0]
    if output.as_json:
        output.object(
            {
                "steps": [result.as_dict() for result in results],
                "song": final.path,
                "contains_core": found.source_at is not None,
                "core_at": found.source_at,
                "core_share": found.source_score,
                "tree": [root.as_dict() for root in roots],
                "picture": str(picture),
            }
        )
        return
    output.manifest(made)
    output.line("")
    show_trees(output, roots)
    output.line("")
    output.file(f"The whole song (simulated, {final.duration or 0:.0f} s):", final.path or "")
    output.line(_said(found))
    output.file("Where it comes from, as a picture:", str(picture))
    output.line(
        "Open it in any player; `songflow listen` plays all songs in a browser. "
        f"For real ones: `songflow generate PROMPT --gateway {gateway_names()[0]}` (README)."
    )


async def _planned(
    session: Session, step: _Step, before: Sequence[GenerationResult], seed: int
) -> tuple[Request, Access]:
    """A new song for the core; each later step extends the first song of the step before."""
    if step.place is None:
        request = parse_request({"prompt": step.prompt, "lyrics": step.lyrics, "seed": seed})
        return request, access_from_environment("simulator")
    planned = await plan_extension(
        session,
        before[-1].stored[0].song_id or "",
        place=step.place,
        overrides={"prompt": step.prompt, "lyrics_type": "instrumental"},
    )
    return planned.request, planned.access


async def _first(session: Session, result: GenerationResult) -> Song:
    """The take that the next step continues from."""
    songs = await session.library.ledger.songs.of_key(result.key)
    return next(song for song in songs if song.path is not None)


def _said(found: SourceFound) -> str:
    if found.source_at is None:
        return f"The check did not find the core in it: {found.note}."
    return f"It holds the core, from {found.source_at:.1f} s on (checked: {found.source_score:.0%} of its seconds)."
