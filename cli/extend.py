"""`songflow extend`: an intro, an outro or more of a song, at the gateway that has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cyclopts import Group, Parameter

from cli.options import Common, Gateway, Paying, Song, Waiting
from cli.output import Output
from cli.paid_command import named, run_paid
from songflow.accounts import Access
from songflow.families.family import Request
from songflow.families.registry import extension_request
from songflow.generation.extensions import plan_extension
from songflow.generation.results import GenerationResult
from songflow.generation.session import Session

__all__ = ["Placing", "extend"]

_PLACING = Group("Placing", sort_key=0)


@Parameter(name="*", group=_PLACING)
@dataclass(frozen=True)
class Placing:
    """Where the new part stands; with --section-start it can be said as a number, too.

    Parameters
    ----------
    mode
        precede (before the song) or continuation (after it; the default).
    place
        intro or front of precede, back or outro of continuation (default: intro, or outro).
    context_length
        Seconds of the song that the model hears, 1..130 (default: 130).
    """

    mode: Literal["precede", "continuation"] | None = None
    place: Literal["intro", "front", "back", "outro"] | None = None
    context_length: float | None = None


def extend(
    song_id: str,
    /,
    *,
    prompt: str | None = None,
    placing: Placing = Placing(),
    song: Song = Song(),
    paying: Paying = Paying(),
    gateway: Gateway = Gateway(),
    waiting: Waiting = Waiting(),
    common: Common = Common(),
) -> None:
    """Extend a song of the library; what is not said is as that song was asked for.

    It is made by the gateway and the account that made the song. A song that only the gateway knows needs --gateway
    and --prompt.

    Parameters
    ----------
    song_id
        The gateway's id of the song, as `songflow songs` shows it.
    prompt
        What the new part is like (default: what the song is like).
    """
    with named(paying.key):
        for part in (paying, gateway, waiting):
            part.check()
        said = {"prompt": prompt, "context_length": placing.context_length, **song.fields()}
        overrides = {name: value for name, value in said.items() if value is not None}
        # As far as that can be told without the parent: before a library is opened or a flow run exists.
        anything = {"prompt": "anything", **overrides}
        extension_request(None, song_id, mode=placing.mode, place=placing.place, overrides=anything)
    output = Output(as_json=common.json, quiet=common.quiet)
    order = _Extension(song_id, placing, overrides)
    output.result(run_paid(output, order, paying, gateway, waiting, common))


@dataclass(frozen=True)
class _Extension:
    song_id: str
    placing: Placing
    overrides: dict[str, Any]
    needs_account: bool = False

    @property
    def label(self) -> str:
        return f"extending {self.song_id[:40]}"

    async def plan(
        self, session: Session, given: Access | None, fallbacks: Sequence[Access]
    ) -> tuple[Request, Access]:
        planned = await plan_extension(
            session,
            self.song_id,
            given,
            mode=self.placing.mode,
            place=self.placing.place,
            overrides=self.overrides,
            fallbacks=fallbacks,
        )
        return planned.request, planned.access

    async def run_flow(self, **options: Any) -> GenerationResult:
        from flows.extend import extend_song

        result: GenerationResult = await extend_song(
            self.song_id, mode=self.placing.mode, place=self.placing.place, **self.overrides, **options
        )
        return result
