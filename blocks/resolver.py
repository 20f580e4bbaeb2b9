"""Find credentials blocks by name: for `--credentials` and for account aliases in the ledger."""

from __future__ import annotations

import logging
from typing import get_args

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from pydantic import ValidationError

from blocks._base import ALIAS_PREFIX, UNSAVED
from blocks.credentials import GatewayBlock
from songflow.accounts import Access, resolve_from_environment
from songflow.errors import MissingCredentials
from songflow.ledger.rows import Submission

__all__ = ["CREDENTIALS_TYPES", "load_credentials", "resolve_access"]

log = logging.getLogger(f"songflow.{__name__}")

CREDENTIALS_TYPES: dict[str, type[GatewayBlock]] = {
    block.get_block_type_slug(): block for block in get_args(GatewayBlock)
}
"""The credentials blocks by the slug of their type."""

# Exceptions of Prefect's client if its API cannot be reached (ValueError: no address is configured).
_UNREACHABLE = (httpx.TransportError, PrefectHTTPStatusError, RuntimeError, OSError, ValueError)


async def load_credentials(reference: str) -> GatewayBlock:
    """Load a saved credentials block by `<type>/<name>`, or by `<name>` if that is unique.

    Raises:
        MissingCredentials: no such block (the message lists the saved ones), several of that name, one that cannot be
            loaded, or no Prefect API.
    """
    slug, _, name = reference.removeprefix(ALIAS_PREFIX).rpartition("/")
    try:
        async with get_client() as client:
            known = await _saved_blocks(client)
    except _UNREACHABLE as error:
        raise MissingCredentials(
            f"The credentials block {reference!r} cannot be loaded: the Prefect API does not answer "
            f"({type(error).__name__}).",
            next="run `prefect server start`, or set PREFECT_API_URL to its address; nothing was sent.",
        ) from None
    found = [one for one in known if one[1] == name and slug in ("", one[0])]
    if len(found) != 1:
        raise _not_one(reference, found, known)
    return await _load(*found[0])


async def resolve_access(submission: Submission) -> Access | None:
    """The access that made a stored submission: from its block, else from the environment.

    A block that was changed to another gateway or address is not used: its key is not for the old one.
    """
    reference = submission.account.removeprefix(ALIAS_PREFIX)
    if submission.account == reference or reference.endswith(f"/{UNSAVED}"):
        return await resolve_from_environment(submission)
    try:
        access = (await load_credentials(reference)).get_access()
    except MissingCredentials as error:
        log.warning("%s", error.message)
        return await resolve_from_environment(submission)
    if access.took(submission):
        return access
    log.warning("The block %s no longer has the address %s.", reference, submission.base_url)
    return None


async def _saved_blocks(client: PrefectClient) -> list[tuple[str, str]]:
    """Type slug and name of every saved credentials block."""
    saved: list[tuple[str, str]] = []
    for slug in CREDENTIALS_TYPES:
        try:
            documents = await client.read_block_documents_by_type(slug, include_secrets=False)
        except ObjectNotFound:
            continue  # a new server registers a type with its first block
        saved += [(slug, document.name) for document in documents if document.name]
    return saved


async def _load(slug: str, name: str) -> GatewayBlock:
    try:
        return await CREDENTIALS_TYPES[slug].aload(name)
    except (ValueError, RuntimeError, ValidationError) as error:
        # Without the error's text, which may quote stored values.
        raise MissingCredentials(
            f"The credentials block {slug}/{name} cannot be loaded ({type(error).__name__}).",
            next="open it in Prefect's UI, correct it and save it again; nothing was sent.",
        ) from None


def _not_one(
    reference: str, found: list[tuple[str, str]], known: list[tuple[str, str]]
) -> MissingCredentials:
    if found:
        names = ", ".join("/".join(one) for one in found)
        return MissingCredentials(
            f"There are several credentials blocks named {reference!r}: {names}.",
            next="name one of them with its type; nothing was sent.",
        )
    names = ", ".join("/".join(one) for one in sorted(known))
    return MissingCredentials(
        f"There is no credentials block {reference!r}. "
        + (f"There are: {names}." if names else "None is saved yet."),
        next="name one that exists, or save one in Prefect's UI under Blocks; nothing was sent.",
    )
