"""Failures and lost answers at gateways that are no relays of Udio, each in the gateway's own words."""

from __future__ import annotations

from typing import Any

import pytest

from songflow.errors import GenerationFailed, OutcomeUnknown
from songflow.families.registry import parse_request
from songflow.generation.lifecycle import generate_in
from songflow.generation.rescue import adopt

CAT = {"prompt": "a cat on a roof", "model_type": "chirp-auk"}
IDEAS = {"kie": CAT, "acedata": CAT, "piapi": {"prompt": "night breeze, piano"}}
LOST = ("lost_answer", "answer_cut", "no_id", "do_request_failed")


@pytest.mark.parametrize(
    ("gateway", "reason"),
    [("kie", "moderation"), ("acedata", "moderation"), ("piapi", r"task failed: .*moderation")],
)
async def test_a_failed_generation_has_the_gateways_reason(
    gateway: str, reason: str, simulator: Any, access: Any, session: Any
) -> None:
    """It is `failed`, and a price that may be billed."""
    server, opened = simulator({"fault": "moderated"}), await session()
    request = parse_request(IDEAS[gateway])
    with pytest.raises(GenerationFailed, match=reason):
        await generate_in(opened, request, access(server.url, gateway, key="any"), key="one")
    assert len(server.bill()) == 1


@pytest.mark.parametrize(
    ("gateway", "fault", "named"),
    [
        ("kie", "lost_answer", {}),
        *(("acedata", fault, {"key": "one"}) for fault in LOST),
        *(("piapi", fault, {"key": "one"}) for fault in LOST),
    ],
)
async def test_a_lost_answer_is_unknown_until_its_task_is_adopted(
    gateway: str, fault: str, named: dict[str, str], simulator: Any, access: Any, session: Any
) -> None:
    """Paid once, whatever became of the answer, and collected under the id of the gateway's log.

    Of a single unknown generation the key need not be named.
    """
    billed = {"billed": True} if fault == "do_request_failed" else {}
    server = simulator({"fault": fault, "on": "submit", **billed})
    account, request = access(server.url, gateway, key="any"), parse_request(IDEAS[gateway])

    async def resolve(_: object) -> Any:
        return account

    opened = await session(resolver=resolve)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await generate_in(opened, request, account, key="one")
    (paid,) = server.bill()
    adopted = await adopt(opened, paid.generation_id, **named)
    assert (adopted.state, len(server.bill())) == ("succeeded", 1)
    assert all(song.path for song in adopted.songs)
