"""The checks of `songflow doctor` on a Prefect server: version, blocks, limits, pool, workers, deployments."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta

import prefect
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType, WorkerStatus
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from blocks import SongLibrary
from blocks.resolver import CREDENTIALS_TYPES, load_credentials
from deployments.automations import CRASH_ZOMBIES, NOTIFY
from deployments.definitions import WORK_POOL, Definition, definitions
from deployments.doctor import reachable
from deployments.health import Check, bad, good, hint
from deployments.setup import BLOCK_TYPES
from songflow.accounts import Access
from songflow.errors import SongflowError
from tasks.limits import limit_name

__all__ = ["check_server"]

_SETUP = "run `songflow setup`."
_DEPLOY = "run `make deploy`, or serve them: `python -m deployments.serve`."
_PLAN = (
    "see the server's log; Prefect 3.9.1 plans none from a `cron` on Python 3.11 and 3.12, and `make deploy` "
    "replaces ours by an `rrule`."
)
# The server's scheduler comes by every minute.
_PLANNED_WITHIN = timedelta(minutes=5)
_TELLS = "Songflow: show trouble in Prefect"


async def check_server() -> AsyncIterator[Check]:
    """Check the configured Prefect server, and yield the results."""
    async with get_client() as client:
        broken = await client.api_healthcheck()
        if broken is not None:
            said = f"{client.api_url} does not answer as one ({type(broken).__name__})."
            yield bad("Prefect server", said, "start `prefect server start`, or correct PREFECT_API_URL.")
            return
        yield await _version(client)
        yield await _block_types(client)
        for check in await _accounts(client):
            yield check
        yield await _libraries(client)
        for check in await _work(client):
            yield check
        for check in await _automations(client):
            yield check


async def _version(client: PrefectClient) -> Check:
    theirs, ours = await client.api_version(), prefect.__version__
    said = f"{client.api_url} is Prefect {theirs}; this is {ours}."
    if theirs.split(".")[:2] != ours.split(".")[:2]:
        return bad("Prefect server", said, "use the same minor version on both sides.")
    return good("Prefect server", said)


async def _block_types(client: PrefectClient) -> Check:
    missing = []
    for block in BLOCK_TYPES:
        try:
            await client.read_block_type_by_slug(block.get_block_type_slug())
        except ObjectNotFound:
            missing.append(block.get_block_type_slug())
    if missing:
        return bad("block types", f"not registered: {', '.join(missing)}.", _SETUP)
    return good("block types", "all are registered.")


async def _accounts(client: PrefectClient) -> list[Check]:
    """Check each saved account: its key, its limit, and that its gateway answers."""
    checks: list[Check] = []
    for slug in CREDENTIALS_TYPES:
        try:
            documents = await client.read_block_documents_by_type(slug, include_secrets=False)
        except ObjectNotFound:
            continue
        for document in documents:
            checks += await _account(client, f"{slug}/{document.name}")
    return checks or [hint("credentials", "no credentials block is saved.", _SETUP)]


async def _account(client: PrefectClient, reference: str) -> list[Check]:
    part = f"credentials {reference}"
    try:
        access = (await load_credentials(reference)).get_access()
    except SongflowError as error:
        return [bad(part, error.message, error.next or _SETUP)]
    if access.is_embedded:
        return [good(part, "the built-in simulator: no key, no cost.")]
    return [await reachable(part, access.account.base_url), await _limit(client, reference, access)]


async def _limit(client: PrefectClient, reference: str, access: Access) -> Check:
    part = f"limit of {reference}"
    try:
        found = await client.read_global_concurrency_limit_by_name(limit_name(access))
    except ObjectNotFound:
        return hint(part, "no concurrency limit yet: the first submit makes it.", _SETUP)
    return good(part, f"{found.limit} submits at once ({found.name}).")


async def _libraries(client: PrefectClient) -> Check:
    try:
        found = await client.read_block_documents_by_type(
            SongLibrary.get_block_type_slug(), include_secrets=False
        )
    except ObjectNotFound:
        found = []
    if not found:
        return hint("library block", "none is saved.", _SETUP)
    return good("library block", ", ".join(sorted(str(document.name) for document in found)) + ".")


async def _work(client: PrefectClient) -> list[Check]:
    """Check the deployments, and that workers of the pool or a serving process execute their runs."""
    missing, deployed = [], {}
    for definition in definitions():
        found = await _deployment(client, definition)
        if found is None:
            missing.append(definition.full_name)
        else:
            deployed[definition.full_name] = found
    checks = [
        bad("deployments", f"not there: {', '.join(missing)}.", _DEPLOY)
        if missing
        else good("deployments", f"all {len(definitions())} are there.")
    ]
    scheduled = {name: one for name, one in deployed.items() if _is_scheduled(one)}
    if scheduled:
        checks.append(await _schedules(client, scheduled))
    if missing or any(one.work_pool_name == WORK_POOL for one in deployed.values()):
        checks += await _pool(client)
    else:
        checks.append(good("workers", "none needed: the deployments are served by a process of their own."))
    return checks


async def _deployment(client: PrefectClient, definition: Definition) -> DeploymentResponse | None:
    try:
        return await client.read_deployment_by_name(definition.full_name)
    except ObjectNotFound:
        return None


def _is_scheduled(deployment: DeploymentResponse) -> bool:
    return not deployment.paused and any(one.active for one in deployment.schedules)


async def _schedules(client: PrefectClient, scheduled: Mapping[str, DeploymentResponse]) -> Check:
    """Check that the server has planned runs; its scheduler logs why it has not, and nobody else says so."""
    unplanned = []
    for name, deployment in scheduled.items():
        runs = await client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
            ),
            limit=1,
        )
        if not runs and _age(deployment) > _PLANNED_WITHIN:
            unplanned.append(name)
    if unplanned:
        return bad("schedules", f"the server plans no runs of {', '.join(unplanned)}.", _PLAN)
    return good("schedules", f"runs are planned for {len(scheduled)} deployments.")


def _age(deployment: DeploymentResponse) -> timedelta:
    return datetime.now(UTC) - (deployment.updated or deployment.created or datetime.now(UTC))


async def _pool(client: PrefectClient) -> list[Check]:
    try:
        pool = await client.read_work_pool(WORK_POOL)
    except ObjectNotFound:
        return [bad("work pool", f"there is no work pool '{WORK_POOL}'.", _SETUP)]
    workers = await client.read_workers_for_work_pool(WORK_POOL)
    online = [worker.name for worker in workers if worker.status == WorkerStatus.ONLINE]
    limit = "no limit" if pool.concurrency_limit is None else f"{pool.concurrency_limit} runs at once"
    paused = hint("work pool", f"'{WORK_POOL}' is paused.", f"`prefect work-pool resume {WORK_POOL}`.")
    return [
        paused if pool.is_paused else good("work pool", f"'{WORK_POOL}', {limit}."),
        good("workers", f"{len(online)} online: {', '.join(online)}.")
        if online
        else bad("workers", "none is online: no run starts.", f"`prefect worker start --pool {WORK_POOL}`."),
    ]


async def _automations(client: PrefectClient) -> list[Check]:
    found = {one.name: one.enabled for one in await client.read_automations()}
    zombies = "runs whose process vanished become Crashed."
    if CRASH_ZOMBIES not in found:
        checks = [bad("zombies", "no automation ends runs whose process vanished.", _SETUP)]
    elif not found[CRASH_ZOMBIES]:
        checks = [hint("zombies", "the automation is switched off.", "switch it on in Prefect's UI.")]
    else:
        checks = [good("zombies", zombies)]
    telling = sorted(name for name in (NOTIFY, _TELLS) if found.get(name))
    if telling:
        return [*checks, good("trouble", f"is told by: {', '.join(telling)}.")]
    return [*checks, hint("trouble", "nobody is told of failed or unknown generations.", _DEPLOY)]
