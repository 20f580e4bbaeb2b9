"""Faults of a gateway of each shape: what may be billed is never sent again, and what is paid for is collected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from support.offers import Offer, shapes

from songflow.errors import GenerationFailed, NotBilled, NotCollected, OutcomeUnknown, SongflowError
from songflow.families.registry import parse_request
from songflow.generation.lifecycle import generate_in
from songflow.simulator import FaultScript


@dataclass(frozen=True)
class Case:
    """A rule of the simulator's script, how a generation ends with it, and how many are billed then."""

    rule: dict[str, Any]
    ends: type[SongflowError] | None
    billed: int = 1


ENDS = (OutcomeUnknown, NotBilled, GenerationFailed, NotCollected)
CASES = {
    "lost answer": Case({"fault": "lost_answer"}, OutcomeUnknown),
    "lost before it was read": Case({"fault": "lost_answer_before"}, OutcomeUnknown, 0),
    "reset in the answer": Case({"fault": "reset_during_body"}, OutcomeUnknown),
    "cut answer": Case({"fault": "answer_cut"}, OutcomeUnknown),
    "no id": Case({"fault": "no_id"}, OutcomeUnknown),
    "no JSON": Case({"fault": "non_json_2xx"}, OutcomeUnknown),
    "a page": Case({"fault": "html", "on": "submit", "billed": True}, OutcomeUnknown),
    "bad gateway": Case({"fault": "status", "on": "submit", "status": 502}, OutcomeUnknown, 0),
    "too many requests": Case({"fault": "status", "on": "submit", "status": 429}, NotBilled, 0),
    "no credit": Case({"fault": "quota_not_enough"}, NotBilled, 0),
    "moderated": Case({"fault": "moderated"}, GenerationFailed),
    "not visible yet": Case({"fault": "not_visible_yet", "fetches": 2}, None),
    "polls fail": Case({"fault": "status", "on": "fetch", "status": 500, "times": 2}, None),
    "pages for polls": Case({"fault": "html", "on": "fetch", "times": 2}, None),
    "dead addresses": Case({"fault": "dead", "times": None}, NotCollected),
    "cut song": Case({"fault": "truncated", "times": 1}, None),
}


@pytest.mark.parametrize("offer", shapes(), ids=str)
async def test_faults_end_as_they_must_and_nothing_is_paid_twice(
    offer: Offer, simulator: Any, access: Any, session: Any
) -> None:
    """Then the same keys again without faults: only what was certainly not billed is sent."""
    rules = [{**case.rule, "match": f"<{name}>"} for name, case in CASES.items()]
    server = simulator(*rules, takes=1, pool=2)
    account, opened = access(server.url, offer.gateway, key="sk-faults-0123456789"), await session(retries=0)

    async def end_of(name: str) -> type[SongflowError] | None:
        request = parse_request({"prompt": f"a waltz <{name}>", "model_type": offer.models[0]})
        try:
            made = await generate_in(opened, request, account, key=name)
        except SongflowError as error:
            return next((kind for kind in ENDS if isinstance(error, kind)), type(error))
        assert all(song.path for song in made.songs)
        return None

    ended, billed = {}, {}
    for name in CASES:
        before = len(server.bill())
        ended[name] = await end_of(name)
        billed[name] = len(server.bill()) - before
    assert ended == {name: case.ends for name, case in CASES.items()}
    assert billed == {name: case.billed for name, case in CASES.items()}

    server.gateway.play(FaultScript())
    before, posts = len(server.bill()), server.gateway.traffic.posts
    again = {name: await end_of(name) for name in CASES}
    mended = {name for name, case in CASES.items() if case.ends in (None, NotBilled, NotCollected)}
    assert again == {name: None if name in mended else case.ends for name, case in CASES.items()}
    refused = [name for name, case in CASES.items() if case.ends is NotBilled]
    assert (len(server.bill()) - before, server.gateway.traffic.posts - posts) == (len(refused), len(refused))
