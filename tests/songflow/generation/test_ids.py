"""Ids that a gateway answers with: another request's, several for one generation, or one that comes too late."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest

from songflow import errors
from songflow.generation.lifecycle import generate_in
from songflow.generation.policy import PaidRequest
from songflow.generation.rescue import adopt, rescue
from songflow.generation.submit import submit_once
from songflow.ledger import State
from songflow.ledger.rows import Submission
from songflow.ledger.submissions import store_answer


def answering(body: object) -> dict[str, object]:
    """A fault that bills the POST and answers with this body."""
    return {"fault": "status", "on": "submit", "status": 200, "billed": True, "body": body}


async def test_an_id_that_another_request_has_already_needs_a_person(
    simulator, access, session, song_request, any_library, play, posts, finished
) -> None:
    """The second request is `unknown` and names the first; it shows no song of the first and sends nothing again."""
    server, opened = simulator(), await session(library=any_library)
    way = access(server.url)
    first = await generate_in(opened, song_request("first"), way, key="first")
    play(server, answering({"code": "success", "data": first.generation_id}))
    for _ in range(2):
        with pytest.raises(errors.OutcomeUnknown, match="which is the generation of the key 'first' already"):
            await generate_in(opened, song_request("second"), way, key="second")
    (second,) = await opened.library.ledger.submissions.of_key("second")
    assert (second.state, second.generation_id, second.billed) == (State.UNKNOWN, None, "maybe")
    assert await opened.library.ledger.songs.of_key("second") == []
    (listed,) = await rescue(opened, way)
    assert (listed.key, listed.exit_code) == ("second", 5)
    balance = await opened.library.ledger.money.balance()
    assert (balance.spent, balance.reserved, posts(server)) == (1.0, 1.0, 2)
    its_own = (await finished(server))[1]
    assert (await adopt(opened, its_own, given=way)).exit_code == 0
    assert posts(server) == 2


async def test_of_two_requests_that_are_told_one_id_at_once_one_has_it(
    simulator, access, session, song_request, any_library
) -> None:
    """Even before either commit is visible to the other."""
    server = simulator({**answering({"code": "success", "data": "the same"}), "times": 2})
    opened = await session(library=any_library)
    ends = await asyncio.gather(
        *(
            submit_once(opened, PaidRequest(song_request(f"number {key}"), key), access(server.url))
            for key in "ab"
        ),
        return_exceptions=True,
    )
    assert {type(end) for end in ends} == {errors.OutcomeUnknown, Submission}


async def test_two_gateways_may_answer_with_the_same_id(simulator, access, session, song_request) -> None:
    """Ids belong to a gateway."""
    one, other = (simulator(answering({"code": "success", "data": "the same"})) for _ in range(2))
    opened = await session()
    for key, server in (("a", one), ("b", other)):
        found = await submit_once(opened, PaidRequest(song_request(key), key), access(server.url))
        assert found.generation_id == "the same"


async def test_the_tracks_of_another_request_are_no_new_songs(
    simulator, access, session, song_request, play
) -> None:
    """Where a gateway names a generation by its tracks."""
    server, opened = simulator(), await session()
    way = access(server.url)
    first = await generate_in(opened, song_request("first"), way, key="first")
    tracks = [song.song_id for song in first.songs]
    play(server, answering({"generation_id": "another", "track_ids": tracks}))
    with pytest.raises(errors.OutcomeUnknown, match="the key 'first'"):
        await submit_once(opened, PaidRequest(song_request("second"), "second"), way)
    play(server, answering({"generation_id": "a third", "track_ids": [tracks[0], "a new one"]}))
    third = await submit_once(opened, PaidRequest(song_request("third"), "third"), way)
    assert third.track_ids == (tracks[0], "a new one")


async def test_waiting_asks_for_each_id_of_the_answer_before_it_says_lost(
    simulator, access, session, left, finished, change, any_library
) -> None:
    """The answer named two, and the gateway knows the second."""
    server, opened = simulator(), await session(library=any_library)
    submission = await left(opened, server, State.LOST)
    (paid_for,) = await finished(server)
    two = {"body": json.dumps({"generation_id": "first", "data": {"id": paid_for}})}
    await change(
        opened, submission, generation_id="first", answered_at=submission.intended_at - timedelta(minutes=5)
    )
    async with opened.library.ledger.database.write("test") as connection:
        await store_answer(connection, submission.id, "submit", two)
    (found,) = await rescue(opened, access(server.url))
    assert (found.generation_id, found.state, len(found.songs)) == (paid_for, "succeeded", 2)
    assert "first" in await opened.library.ledger.submissions.known_ids(submission.id)


async def test_an_answer_for_a_request_that_was_settled_otherwise_is_an_error(
    simulator, access, session, song_request, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    """A person has adopted another id while the answer was under way: both ids are named."""
    server, opened = simulator(), await session()
    ledger = opened.library.ledger.submissions
    accepted = ledger.accepted

    async def adopted_meanwhile(submission_id: str, *args: object) -> bool:
        assert await accepted(submission_id, "theirs", (), None)
        return await accepted(submission_id, *args)

    monkeypatch.setattr(ledger, "accepted", adopted_meanwhile)
    with pytest.raises(
        errors.NotCollected, match="has it as generation theirs in the state 'accepted'"
    ) as caught:
        await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    paid_for = server.bill()[0].generation_id
    assert (caught.value.generation_id, caught.value.exit_code) == (paid_for, 5)
    assert "PAID" in capfd.readouterr().err
