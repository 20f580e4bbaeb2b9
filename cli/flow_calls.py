"""The same command as a flow run: its options as the parameters that Songflow's flows share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.options import Common, Gateway, Waiting
from songflow.documents.yaml_file import read_source
from songflow.families.family import Mode, Request
from songflow.families.field_types import AUTO
from songflow.families.parameters import (
    Details,
    ExtensionDetails,
    ExtensionPlacement,
    ExtensionSound,
    Placement,
    Sound,
)
from songflow.generation.results import GenerationResult
from songflow.parameters import EnvironmentAccount, Safety
from songflow.sweeps.tally import SweepResult, SweepUnfinished, Tally

if TYPE_CHECKING:
    from prefect.blocks.core import Block

__all__ = ["extension_placement", "generate_as_flow", "shared_parameters", "sweep_as_flow"]

_AT_THE_TOP = ("prompt", "lyrics", "lyrics_type", "seed")


async def shared_parameters(
    gateway: Gateway, waiting: Waiting, safety: Safety, budget: float | None, common: Common
) -> dict[str, Any]:
    """The parameters that every flow that pays has.

    Raises:
        MissingCredentials: there is no such block.
    """
    from blocks import SongLibrary
    from blocks.resolver import load_credentials

    credentials: Block | None = None
    if gateway.credentials is not None:
        credentials = await load_credentials(gateway.credentials)
    return {
        "credentials": credentials,
        "account": gateway.account(),
        "library": SongLibrary.of(common.library_settings()),
        "budget": budget,
        "waiting": waiting.group(),
        "safety": safety,
    }


async def generate_as_flow(request: Request, shared: dict[str, Any]) -> GenerationResult:
    """Make a request in a run of generate-song, or of extend-song if it extends a song."""
    fields = request.model_dump(mode="json")
    top = {name: fields[name] for name in _AT_THE_TOP if name in fields}
    result: GenerationResult
    if request.mode is Mode.REGULAR:
        from flows.generate import generate_song

        result = await generate_song(
            **top,
            model_type=fields["model_type"],
            negative_prompt=fields["negative_prompt"],
            sound=Sound(**_of(Sound, fields)),
            placement=Placement(**_of(Placement, fields)),
            details=Details(**_of(Details, fields)),
            **shared,
        )
        return result
    from flows.extend import extend_song

    # Without an account a new song comes from the built-in simulator, and an extension from its source's own account.
    here = EnvironmentAccount(gateway="simulator")
    own_account = shared["credentials"] is None and shared["account"].is_empty
    result = await extend_song(
        fields["source_song_id"],
        **top,
        sound=ExtensionSound(**_of(ExtensionSound, fields)),
        placement=extension_placement(fields),
        details=ExtensionDetails(**_of(ExtensionDetails, fields)),
        **{**shared, "account": here if own_account else shared["account"]},
    )
    return result


async def sweep_as_flow(
    spec: Path,
    concurrency: int,
    shared: dict[str, Any],
    show: Callable[[str, Tally], AbstractAsyncContextManager[None]],
) -> SweepResult:
    """Make a sweep in a run of the flow sweep.

    Args:
        spec: The sweep's file.
        concurrency: Generations at the gateway at once.
        shared: The parameters that all flows share.
        show: Shows the counts of the sweep while it runs.
    """
    from flows.sweep import sweep
    from tasks.watching import Watcher, watched_by

    with watched_by(Watcher(sweep=show)):
        state = await sweep(
            spec=read_source(spec),
            folder=str(spec.parent.resolve()),
            name=spec.stem,
            concurrency=concurrency,
            **shared,
            report=False,  # a command returns when the songs are there; `sweep report` draws one
            return_state=True,
        )
    # A sweep with failed cells is a failed run with a result; any other failure is raised here.
    result = await state.aresult(raise_on_failure=False)
    if isinstance(result, SweepUnfinished):
        return result.result
    if isinstance(result, Exception):
        raise result
    assert isinstance(result, SweepResult), "the flow returns its result in its state"
    return result


def extension_placement(fields: Mapping[str, Any]) -> ExtensionPlacement:
    """The placement of a whole request: what it leaves to the model is not inherited from its source."""
    names = [name for name in ExtensionPlacement.model_fields if name in fields]
    placed = {name: fields[name] for name in names if fields[name] is not None}
    left = {name: AUTO for name in ExtensionPlacement.LEFT_TO_MODEL if name in fields}
    return ExtensionPlacement(**{**left, **placed})


def _of(group: type[Any], fields: dict[str, Any]) -> dict[str, Any]:
    return {name: fields[name] for name in group.model_fields if name in fields}
