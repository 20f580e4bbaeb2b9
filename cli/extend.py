"""`songflow extend`: an intro, an outro or more of a song, at the gateway that has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cyclopts import Group, Parameter

from cli.options import Common, Gateway, Paying, Song, Waiting, cleaned
from cli.output import Output
from cli.paid_command import named, run_paid
from songflow.accounts import Access
from songflow.families.family import Request
from songflow.families.field_types import Join
from songflow.families.parameters import ExtensionDetails, ExtensionPlacement, ExtensionSound
from songflow.families.registry import check_extension
from songflow.generation.extensions import plan_extension
from songflow.generation.results import GenerationResult
from songflow.generation.session import Session

__all__ = ["Placing", "extend"]

_PLACING = Group("Placing", sort_key=0)


@Parameter(name="*", group=_PLACING)
@dataclass(frozen=True)
class Placing:
    """Where the new part is placed; --section-start gives it as a number, --at as a second of the song.

    Parameters
    ----------
    mode
        precede (before the song) or continuation (after it; the default).
    place
        intro or front of precede, back or outro of continuation (default: intro, or outro).
    context_length
        Seconds of the song that the model hears, 1..130 (default: 130).
    at
        The second of the song at which the new part begins, for models that continue a song there.
    generation
        For such a model and a song that is not in the library: the gateway's id of the generation that made it.
    join
        Who joins an extension that is only the new part with the song: this machine (local), the gateway (gateway: a
        further request, which may be billed), or no one (none). The new part's own file is kept in any case.
    """

    mode: Literal["precede", "continuation"] | None = None
    place: Literal["intro", "front", "back", "outro"] | None = None
    context_length: float | None = None
    at: float | None = None
    generation: str | None = None
    join: Join = "local"

    def fields(self) -> dict[str, Any]:
        """The request's fields that were given, by their wire names."""
        given = {
            "context_length": self.context_length,
            "continue_at": self.at,
            "source_generation_id": self.generation,
        }
        return {name: value for name, value in given.items() if value is not None}


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
    """Extend a song. Options that you leave out are inherited from the song.

    The gateway and account that made the song make the extension. A song that is not in the library needs --gateway
    and --prompt.

    Parameters
    ----------
    song_id
        The gateway's id of the song, or its beginning, as `songflow songs` shows it.
    prompt
        What the new part is like (default: the prompt of the song).
    """
    with named(paying.key):
        for part in (paying, gateway, waiting):
            part.check()
        given = {"prompt": cleaned(prompt), **placing.fields(), **song.fields()}
        overrides = {name: value for name, value in given.items() if value is not None}
        # A check without the parent, before a library is opened or a flow run exists.
        check_extension(song_id, mode=placing.mode, place=placing.place, overrides=overrides)
    output = Output(as_json=common.json, quiet=common.quiet)
    order = _Extension(song_id, placing, overrides)
    result = run_paid(output, order, paying, gateway, waiting, common, join=placing.join)
    output.result(result, common.library_settings().unit)


@dataclass(frozen=True)
class _Extension:
    song_id: str
    placing: Placing
    overrides: dict[str, Any]
    needs_account: bool = False

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

    async def run_flow(self, shared: dict[str, Any]) -> GenerationResult:
        from flows.extend import extend_song

        rest = dict(self.overrides)
        sound = {name: rest.pop(name) for name in ExtensionSound.model_fields if name in rest}
        placement = {name: rest.pop(name) for name in ExtensionPlacement.model_fields if name in rest}
        details = {name: rest.pop(name) for name in ExtensionDetails.model_fields if name in rest}
        result: GenerationResult = await extend_song(
            self.song_id,
            place=self.placing.place,
            sound=ExtensionSound(**sound),
            placement=ExtensionPlacement(mode=self.placing.mode, **placement),
            details=ExtensionDetails(join=self.placing.join, **details),
            **rest,
            **shared,
        )
        return result

    def result(self, made: GenerationResult) -> GenerationResult:
        return made
