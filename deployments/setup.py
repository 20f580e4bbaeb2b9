"""Prepare a Prefect server for the deployments: the steps of `songflow setup`.

Running it again is safe. Existing objects are kept, including changes made in Prefect's UI; `overwrite` replaces saved
blocks with the settings of the environment.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Literal, TypeVar, cast, get_args

from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.workers.process import ProcessWorker

from blocks import SimulatorCredentials, SongLibrary
from blocks.credentials import GatewayBlock, InstalledGatewayCredentials, PublishedBlock
from blocks.resolver import CREDENTIALS_TYPES, load_credentials
from deployments.automations import crash_zombies, install, notify
from deployments.definitions import WORK_POOL
from songflow.errors import InputError, MissingCredentials
from songflow.gateways import DIALECTS, Dialect
from songflow.settings import LibrarySettings, gateway_address, gateway_key
from tasks.limits import ensure_limit, limits_of

__all__ = ["BLOCK_NAME", "BLOCK_TYPES", "RUNS_AT_ONCE", "Step", "set_up"]

BLOCK_NAME = "default"
"""The name under which setup saves blocks."""

BLOCK_TYPES: tuple[type[Block], ...] = (*CREDENTIALS_TYPES.values(), SongLibrary)
RUNS_AT_ONCE = 10
"""Concurrency limit of the work pool when it is created; it can be changed in the UI."""

Outcome = Literal["made", "changed", "kept", "left out"]
_B = TypeVar("_B", bound=Block)
_PUBLISHED: tuple[type[PublishedBlock], ...] = get_args(PublishedBlock)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the setup: its subject, its outcome, and a note."""

    part: str
    outcome: Outcome
    note: str = ""

    def as_dict(self) -> dict[str, str]:
        """Plain data, for JSON."""
        return asdict(self)


async def set_up(
    library: LibrarySettings, *, notify_block: str | None = None, overwrite: bool = False
) -> AsyncIterator[Step]:
    """Prepare the configured Prefect server; yields each step when it is done.

    Args:
        library: Settings for the library block.
        notify_block: `<type>/<name>` of a notification block for the events that notify a person.
        overwrite: Replace saved blocks that differ from the environment.

    Raises:
        InputError: there is no such notification block.
    """
    async with get_client() as client:
        for block_type in BLOCK_TYPES:
            yield await _block_type(client, block_type)
        for block in _PUBLISHED:
            yield await _credentials(client, block, DIALECTS[block.gateway], BLOCK_NAME, overwrite)
        for name, dialect in DIALECTS.items():
            has_address = dialect.base_url or gateway_address(dialect.address_variable)
            if name not in DIALECTS.ours and has_address:
                yield await _credentials(client, InstalledGatewayCredentials, dialect, name, overwrite)
        yield await _simulator(client)
        yield await _library(client, library, overwrite)
        for reference in await _saved_credentials(client):
            yield await _limits(client, reference)
        yield await _work_pool(client)
        zombies = crash_zombies()
        yield Step(f"automation '{zombies.name}'", await install(client, zombies))
        yield await _notification(client, notify_block)


async def _block_type(client: PrefectClient, block: type[Block]) -> Step:
    part = f"block type {block.get_block_type_slug()}"
    try:
        known = await client.read_block_type_by_slug(block.get_block_type_slug())
        checksum = block._calculate_schema_checksum()
        await client.read_block_schema_by_checksum(checksum)
    except ObjectNotFound:
        known = None
    await block.aregister_type_and_schema(client=client)
    return Step(part, "made" if known is None else "kept")


async def _saved(client: PrefectClient, block: type[_B], name: str = BLOCK_NAME) -> _B | None:
    """The saved block of this name, or None.

    Raises:
        InputError: it is there and cannot be used.
    """
    slug = block.get_block_type_slug()
    try:
        await client.read_block_document_by_name(name, slug, include_secrets=False)
    except ObjectNotFound:
        return None
    try:
        return cast(_B, await block.aload(name))
    except (ValueError, RuntimeError) as error:
        # Not the error's text: it may quote what is stored.
        raise InputError(
            f"The block {slug}/{name} cannot be used as it is saved ({type(error).__name__}).",
            next="correct or delete it in Prefect's UI, then run setup again.",
        ) from None


async def _credentials(
    client: PrefectClient,
    block: type[PublishedBlock | InstalledGatewayCredentials],
    dialect: Dialect,
    name: str,
    overwrite: bool,
) -> Step:
    """Save the account whose key or address is in the environment, keeping everything that was set in the UI."""
    part = f"block {block.get_block_type_slug()}/{name}"
    found = {
        "api_key": ("key", dialect.key_variable, gateway_key(dialect.key_variable)),
        "base_url": ("address", dialect.address_variable, gateway_address(dialect.address_variable)),
    }
    given = {field: value for field, (_, _, value) in found.items() if value is not None}
    if not given:
        variables = [variable for _, variable, _ in found.values() if variable is not None]
        return Step(part, "left out", f"{' and '.join(variables)} {'are' if variables[1:] else 'is'} not set")
    saved = await _saved(client, block, name)
    if saved is None:
        made = " and ".join(f"the {found[field][0]} in {found[field][1]}" for field in given)
        which = {"gateway": dialect.name} if block is InstalledGatewayCredentials else {}
        await block.model_validate({**given, **which}).asave(name)
        return Step(part, "made", f"with {made}")
    differing = [field for field, value in given.items() if getattr(saved, field) != value]
    if not differing:
        return Step(part, "kept")
    said, variable, _ = found[differing[0]]
    if not overwrite:
        return Step(part, "kept", f"its {said} is not the one in {variable}; --overwrite takes that one")
    for field in differing:
        setattr(saved, field, given[field])
    await saved.asave(name, overwrite=True)
    return Step(part, "changed", f"it has the {said} in {variable} now")


async def _simulator(client: PrefectClient) -> Step:
    part = f"block {SimulatorCredentials.get_block_type_slug()}/{BLOCK_NAME}"
    if await _saved(client, SimulatorCredentials) is None:
        await SimulatorCredentials().asave(BLOCK_NAME)
        return Step(part, "made", "no key, no cost")
    return Step(part, "kept")


async def _library(client: PrefectClient, settings: LibrarySettings, overwrite: bool) -> Step:
    part = f"block {SongLibrary.get_block_type_slug()}/{BLOCK_NAME}"
    saved = await _saved(client, SongLibrary)
    if saved is None:
        await SongLibrary.of(settings).asave(BLOCK_NAME)
        return Step(part, "made", str(settings.folder))
    if saved.get_settings() == settings:
        return Step(part, "kept", str(settings.folder))
    if not overwrite:
        return Step(
            part, "kept", f"it differs from the environment ({settings.folder}); --overwrite takes that one"
        )
    await SongLibrary.of(settings).asave(BLOCK_NAME, overwrite=True)
    return Step(part, "changed", str(settings.folder))


async def _saved_credentials(client: PrefectClient) -> list[str]:
    """`<type>/<name>` of each saved account."""
    saved = []
    for slug in CREDENTIALS_TYPES:
        documents = await client.read_block_documents_by_type(slug, include_secrets=False)
        saved += [f"{slug}/{document.name}" for document in documents if document.name]
    return saved


async def _limits(client: PrefectClient, reference: str) -> Step:
    """Create the limits that all runs with an account's key share (see `tasks.limits`)."""
    part = f"limits of {reference}"
    try:
        block: GatewayBlock = await load_credentials(reference)
    except MissingCredentials as error:
        return Step(part, "left out", error.message)
    access = block.get_access()
    if access.is_embedded:
        return Step(part, "left out", "the built-in simulator needs none")
    outcomes: dict[str, Outcome] = {
        limit.name: await ensure_limit(client, access, limit) for limit in limits_of(access)
    }
    changed = [name for name, outcome in outcomes.items() if outcome != "kept"]
    if changed:
        return Step(part, outcomes[changed[0]], ", ".join(changed))
    return Step(part, "kept", ", ".join(outcomes))


async def _work_pool(client: PrefectClient) -> Step:
    part = f"work pool '{WORK_POOL}'"
    try:
        await client.create_work_pool(
            WorkPoolCreate(
                name=WORK_POOL,
                type=ProcessWorker.type,
                base_job_template=ProcessWorker.get_default_base_job_template(),
                concurrency_limit=RUNS_AT_ONCE,
                description="Where Songflow's deployments run: `prefect worker start --pool songflow`.",
            )
        )
    except ObjectAlreadyExists:
        found = await client.read_work_pool(WORK_POOL)
        return Step(part, "kept", f"type {found.type}")
    return Step(part, "made", f"type process, {RUNS_AT_ONCE} runs at once")


async def _notification(client: PrefectClient, reference: str | None) -> Step:
    if reference is None:
        note = "no --notify BLOCK: the flow `attention` shows what happens in Prefect's UI"
        return Step("automation that notifies", "left out", note)
    slug, _, name = reference.rpartition("/")
    try:
        document = await client.read_block_document_by_name(name, slug)
    except ObjectNotFound:
        raise InputError(
            f"There is no notification block {reference!r}.",
            next="save one in Prefect's UI under Blocks and name it with its type, such as slack-webhook/team.",
        ) from None
    wanted = notify(document.id)
    return Step(f"automation '{wanted.name}'", await install(client, wanted), f"through {reference}")
