"""Orders of the listening room as flow runs, where a Prefect server is up."""

from __future__ import annotations

from cli.flow_calls import generate_as_flow, shared_parameters
from cli.options import Common, Gateway, Paying, Waiting
from cli.prefect_mode import use_prefect
from songflow.accounts import Access
from songflow.gateways.dialects import CUSTOM
from songflow.generation.results import GenerationResult
from songflow.listening.making import Starter
from songflow.listening.orders import Planned

__all__ = ["flow_starter"]

_BLOCK = "block:"
_UNSAVED = "/unsaved"


def flow_starter(common: Common) -> Starter:
    """A starter that makes an order of the library's room in a flow run.

    Without a server, and for an account that a flow run could not find again, the room makes it itself.
    """

    async def start(planned: Planned, key: str) -> GenerationResult | None:
        gateway = _gateway_of(planned.access)
        if gateway is None or not await use_prefect():
            return None
        shared = await shared_parameters(gateway, Waiting(), Paying().safety(key), None, common)
        return await generate_as_flow(planned.request, shared)

    return start


def _gateway_of(access: Access) -> Gateway | None:
    """The options that name an account of the ledger; None if none do."""
    alias = access.account.alias
    if alias.startswith(_BLOCK):
        return None if alias.endswith(_UNSAVED) else Gateway(credentials=alias.removeprefix(_BLOCK))
    if access.gateway == CUSTOM:
        return None
    return Gateway(gateway=access.gateway, base_url=None if access.is_embedded else access.account.base_url)
