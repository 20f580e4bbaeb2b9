"""What people do besides making songs, at gateways with an API of their own: the same promises hold."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from songflow.accounts import that_can_take
from songflow.catalog.manifest import read_manifest
from songflow.errors import OutcomeUnknown
from songflow.families.registry import parse_request
from songflow.generation.lifecycle import generate_in, submit
from songflow.generation.policy import PaidRequest, PayingPolicy
from songflow.generation.rescue import rescue
from songflow.library.library import Library
from songflow.library.rebuild import rebuild
from songflow.settings import LibrarySettings


@dataclass(frozen=True)
class Case:
    """A gateway, another that sells the same model, and a request that both can make."""

    gateway: str
    other: str
    fields: dict[str, Any]


CASES = [
    Case("piapi", "cometapi", {"prompt": "night breeze, piano"}),
    Case("acedata", "kie", {"prompt": "a cat on a roof", "model_type": "chirp-auk"}),
]
by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.gateway)


@by_case
async def test_a_generation_that_was_left_behind_is_rescued(
    case: Case, simulator: Any, access: Any, session: Any, die: Any
) -> None:
    """Its process died after the acceptance: rescue collects it and pays nothing."""
    server = simulator(takes=1)
    account = access(server.url, case.gateway, key="any")

    async def resolve(_: object) -> Any:
        return account

    opened = await session(resolver=resolve)
    await submit(opened, PaidRequest(parse_request(case.fields), "left"), account)
    await die(opened)
    (rescued,) = await rescue(opened)
    assert (rescued.state, rescued.gateway, len(rescued.songs)) == ("succeeded", case.gateway, 1)
    assert len(server.bill()) == 1


@by_case
async def test_a_ledger_is_rebuilt_from_the_songs_files(
    case: Case, simulator: Any, access: Any, session: Any, tmp_path: Path
) -> None:
    """With the gateway, the ids and the request of each, and none of them is paid for again."""
    server, opened = simulator(takes=1), await session()
    account = access(server.url, case.gateway, key="any")
    made = await generate_in(opened, parse_request(case.fields), account, key="made")
    shutil.copytree(Path(made.songs[0].path or "").parent, tmp_path / "files")
    async with Library(LibrarySettings(tmp_path / "new")) as empty:
        await rebuild(empty, tmp_path / "files", trusted=[account.place])
        old, new = await read_manifest(opened.library.ledger), await read_manifest(empty.ledger)
    names = ["key", "gateway", "generation_id", "song_id", "sha256", "request.prompt", "request.model_type"]
    assert new[names].equals(old[names])


@by_case
@pytest.mark.parametrize("first", [True, False])
async def test_a_refusal_falls_back_within_the_family_and_an_unknown_outcome_does_not(
    case: Case, first: bool, simulator: Any, access: Any, session: Any
) -> None:
    """In either direction: the second gateway is asked, and billed, after a refusal alone."""
    refusing, other = simulator({"fault": "quota_not_enough"}), simulator(takes=1)
    names = (case.gateway, case.other) if first else (case.other, case.gateway)
    accounts = [
        access(server.url, name, key="any") for server, name in zip((refusing, other), names, strict=True)
    ]
    opened = await session()
    policy = PayingPolicy(fallbacks=(accounts[1],))
    made = await generate_in(opened, parse_request(case.fields), accounts[0], policy=policy, key="made")
    (paid,) = other.bill()
    assert (paid.generation_id, refusing.bill()) == (made.generation_id, [])
    frame = await read_manifest(opened.library.ledger)
    assert set(frame.loc[frame["song_state"] == "stored", "gateway"]) == {names[1]}
    losing = access(simulator({"fault": "lost_answer"}).url, names[0], key="any")
    with pytest.raises(OutcomeUnknown):
        await generate_in(
            opened, parse_request({**case.fields, "prompt": "a lost song"}), losing, policy=policy, key="lost"
        )
    assert len(other.bill()) == 1


def test_a_fallback_that_has_no_place_for_a_field_is_left_out(access: Any) -> None:
    """It could only raise another error than the refusal that it was to help with."""
    first, fallback = (
        access("http://127.0.0.1:1", "cometapi", key="a"),
        access("http://127.0.0.1:2", "piapi", key="b"),
    )
    plain = parse_request({"prompt": "jazz"})
    assert that_can_take([first, fallback], plain) == (first, fallback)
    assert that_can_take([first, fallback], parse_request({"prompt": "jazz", "prompt_strength": 0.7})) == (
        first,
    )
