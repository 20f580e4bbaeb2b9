"""Ids that a gateway answers with: another request's, several for one generation, or one that comes too late."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import timedelta

import pytest

from songflow import errors
from songflow.generation.lifecycle import generate_in
from songflow.generation.policy import PaidRequest
from songflow.generation.rescue import adopt, rescue
from songflow.generation.submit import submit_once
from songflow.ledger import State
from songflow.ledger.answers import store_answer
from songflow.ledger.rows import Submission


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


@pytest.mark.parametrize("form", ["number", "task_id", "taskId", "id", "code_0"])
async def test_an_id_in_an_unknown_form_is_kept_shown_and_adopted(
    simulator, access, session, song_request, posts, finished, form
) -> None:
    """The outcome stays unknown, as nobody is sure; the answer and the id in it are there for a person."""
    server, opened = simulator({"fault": "odd_id", "form": form}), await session()
    way = access(server.url)
    with pytest.raises(errors.OutcomeUnknown):
        await generate_in(opened, song_request(), way, key="key")
    (paid_for,) = await finished(server)
    (found,) = await rescue(opened, way)
    assert (found.state, found.exit_code, found.answer.status) == ("unknown", 5, 200)
    assert found.answer.candidate_ids == (paid_for,)
    assert json.loads(found.answer.body)["data"]
    assert (await adopt(opened, found.answer.candidate_ids[0], given=way)).exit_code == 0
    assert posts(server) == 1


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        ({"result": {"job": {"jobId": "deep", "user": {"name": "x"}}}}, ("deep",)),
        ({"code": 0, "data": [{"id": 7}, {"id": "8"}]}, ("7", "8")),
        ({"code": "0", "data": "plain"}, ("plain",)),
        ({"data": {"task_id": "one", "id": "two"}, "id": "three"}, ("three", "one", "two")),
        ({"code": "failed", "data": "not an id"}, ()),
        ({"code": 0, "data": "Your request was received"}, ()),
        ({"error": {"id": "of an error"}, "data": {"id": True}}, ()),
        ("OK, 3f1c", ()),
    ],
)
async def test_the_answer_to_a_request_in_doubt_is_shown_with_its_ids(
    simulator, access, session, song_request, play, body, ids
) -> None:
    """Wherever they stand; a sentence and an error's number are none. The whole answer is there in any case."""
    server, opened = simulator(answering(body)), await session()
    with pytest.raises(errors.OutcomeUnknown, match="rescue --list"):
        await generate_in(opened, song_request(), access(server.url), key="key")
    (found,) = await rescue(opened, access(server.url))
    assert found.answer.candidate_ids == ids
    assert found.answer.body == (body if isinstance(body, str) else json.dumps(body, separators=(",", ":")))


async def test_bytes_that_are_no_text_are_shown_as_they_came(
    simulator, access, session, song_request
) -> None:
    """An answer in another encoding of characters may hold the id."""
    server, opened = simulator({"fault": "non_utf8"}), await session()
    with pytest.raises(errors.OutcomeUnknown):
        await generate_in(opened, song_request(), access(server.url), key="key")
    (found,) = await rescue(opened, access(server.url))
    assert base64.b64decode(found.answer.raw) == b'{"code":"success","message":"\xff\xfe","data":"\xe9\x80"}'


async def test_another_requests_id_is_no_candidate(simulator, access, session, song_request, play) -> None:
    """Adopting it would be refused."""
    server, opened = simulator(), await session()
    way = access(server.url)
    first = await generate_in(opened, song_request("first"), way, key="first")
    play(server, answering({"code": "success", "data": first.generation_id}))
    with pytest.raises(errors.OutcomeUnknown):
        await generate_in(opened, song_request("second"), way, key="second")
    (found,) = await rescue(opened, way)
    assert first.generation_id in found.answer.body
    assert found.answer.candidate_ids == ()
