"""Decisions of a person: adopt an id for an unknown request, write it off, or pay again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from songflow import errors
from songflow.families.udio import SongRequest
from songflow.generation.lifecycle import generate_in
from songflow.generation.rescue import adopt, exit_code, rescue, resubmit, write_off
from songflow.ledger import State
from songflow.ledger.money import Balance
from songflow.ledger.spool import SpoolEntry

LOST_ANSWER = {"fault": "lost_answer"}
TWICE = {"fault": "lost_answer", "times": 2}


# --- adopting ---------------------------------------------------------------------------------------------


async def test_an_id_from_the_gateways_log_is_adopted_and_collected(
    simulator, access, session, left, finished, posts
) -> None:
    """There is one unknown request, and the gateway has its prompt for the id."""
    server, opened = simulator(LOST_ANSWER), await session()
    await left(opened, server, State.UNKNOWN)
    paid_for = (await finished(server))[0]
    found = await adopt(opened, paid_for, given=access(server.url))
    assert (found.key, found.generation_id, found.state, found.exit_code) == ("key", paid_for, "succeeded", 0)
    assert (len(found.songs), posts(server)) == (2, 1)
    price = (await opened.library.ledger.submissions.of_key("key"))[0].price
    assert await opened.library.ledger.money.balance() == Balance("library", price, 0.0, 0.0)


async def test_among_several_unknown_requests_the_prompt_decides(
    simulator, access, session, left, finished
) -> None:
    """Each id is matched to the request with its prompt."""
    server, opened = simulator(TWICE), await session()
    await left(opened, server, State.UNKNOWN, "waltz", prompt="a slow waltz")
    await left(opened, server, State.UNKNOWN, "polka", prompt="a fast polka")
    second = (await finished(server))[1]
    assert (await adopt(opened, second, given=access(server.url))).key == "polka"
    (still,) = await rescue(opened, access(server.url))
    assert (still.key, still.state) == ("waltz", "unknown")


async def test_an_id_that_fits_several_requests_needs_a_key(
    simulator, access, session, left, finished
) -> None:
    """Two requests have the same prompt."""
    server, opened = simulator(TWICE), await session()
    for key in ("one", "two"):
        await left(opened, server, State.UNKNOWN, key)
    paid_for = (await finished(server))[1]
    with pytest.raises(errors.InputError, match=r"fits several open requests \(one, two\)") as caught:
        await adopt(opened, paid_for, given=access(server.url))
    assert "--key" in caught.value.next
    assert (await adopt(opened, paid_for, key="two", given=access(server.url))).exit_code == 0


async def test_ids_are_adopted_for_each_unknown_post_of_one_key(simulator, access, session, left) -> None:
    """Two unknown POSTs under one key: both ids can be adopted in turn."""
    server, opened = simulator(TWICE), await session()
    await left(opened, server, State.UNKNOWN)
    with pytest.raises(errors.OutcomeUnknown):
        await resubmit(opened, "key", access(server.url))
    for entry in server.bill():
        found = await adopt(opened, entry.generation_id, key="key", given=access(server.url))
        assert (found.generation_id, found.exit_code) == (entry.generation_id, 0)
    assert await rescue(opened, access(server.url)) == []


async def test_an_id_that_the_gateway_does_not_know_is_refused(simulator, access, session, left) -> None:
    """A typing error changes nothing."""
    server, opened = simulator(LOST_ANSWER), await session()
    submission = await left(opened, server, State.UNKNOWN)
    with pytest.raises(
        errors.InputError,
        match=r"not known to the gateway, has no songs yet, or fits no open request \(key\)",
    ):
        await adopt(opened, "nonsense", given=access(server.url))
    assert await opened.library.ledger.submissions.get(submission.id) == submission


async def test_an_id_of_another_prompt_is_refused_unless_a_person_names_the_key(
    simulator, access, session, left, song_request
) -> None:
    """Gateways may rewrite prompts, so a person may insist."""
    server, opened = simulator(LOST_ANSWER), await session()
    await left(opened, server, State.UNKNOWN)
    elsewhere = (await _post(server.url, song_request("a fast polka")))["data"]
    with pytest.raises(errors.InputError, match="fits no open request"):
        await adopt(opened, elsewhere, given=access(server.url))
    assert (await adopt(opened, elsewhere, key="key", given=access(server.url))).exit_code == 0


async def _post(url: str, request):
    """A generation that no ledger knows."""
    import httpx

    from songflow.gateways import DIALECTS

    async with httpx.AsyncClient(base_url=url) as client:
        answer = await client.post(DIALECTS["simulator"].services["udio"].submit_path, json=request.body())
        return answer.json()


async def test_an_id_that_the_ledger_has_is_not_adopted_twice(simulator, access, session, left) -> None:
    """It already belongs to a request."""
    server, opened = simulator({**LOST_ANSWER, "skip": 1}), await session()
    known = await left(opened, server, State.ACCEPTED, "known")
    await left(opened, server, State.UNKNOWN, "unknown")
    with pytest.raises(errors.InputError, match=r"is in the ledger already: it belongs to the key 'known'"):
        await adopt(opened, known.generation_id, key="unknown", given=access(server.url))


async def test_the_id_of_a_song_of_another_key_is_not_adopted(simulator, access, session, left) -> None:
    """Some gateways fetch by either; the key that has the song is named."""
    server, opened = simulator({**LOST_ANSWER, "skip": 1}), await session()
    made = await generate_in(opened, SongRequest(prompt="known"), access(server.url), key="known")
    await left(opened, server, State.UNKNOWN, "unknown")
    with pytest.raises(errors.InputError, match="belongs to the key 'known'") as caught:
        await adopt(opened, made.songs[1].song_id, key="unknown", given=access(server.url))
    assert "--key known" in caught.value.next


@pytest.mark.parametrize("state", [State.LOST, State.OVERDUE])
async def test_another_id_is_adopted_for_a_generation_that_its_own_id_does_not_find(
    simulator, access, session, left, finished, any_library, change, state: State
) -> None:
    """The gateway's log has another id than its answer; songs come, the bill stays, the former id is kept."""
    server, opened = simulator(), await session(library=any_library)
    submission = await left(opened, server, state)
    paid_for = (await finished(server))[0]
    await change(opened, submission, generation_id="wrong")
    found = await adopt(opened, paid_for, given=access(server.url))
    assert (found.key, found.generation_id, found.state, len(found.songs)) == (
        "key",
        paid_for,
        "succeeded",
        2,
    )
    assert (found.price, len(server.bill())) == (submission.price, 1)
    assert (await opened.library.ledger.money.balance()).spent == submission.price
    assert "wrong" in await opened.library.ledger.submissions.known_ids(submission.id)


async def test_the_id_of_a_generation_that_somebody_waits_for_is_not_changed(
    simulator, access, session, left, finished, change
) -> None:
    """The process that waits for the former id would take that one's songs for it."""
    server, opened = simulator(), await session()
    submission = await left(opened, server, State.OVERDUE)
    await finished(server)
    await change(
        opened, submission, generation_id="wrong", lease_expires_at=datetime.now(UTC) + timedelta(minutes=1)
    )
    with pytest.raises(errors.InputError, match="No request is unknown, lost or overdue"):
        await adopt(opened, server.bill()[0].generation_id, given=access(server.url))


async def test_an_id_cannot_be_adopted_if_nothing_is_unknown(simulator, access, session, left) -> None:
    """With and without a key."""
    server, opened = simulator(), await session()
    with pytest.raises(errors.InputError, match=r"No request is unknown, lost or overdue\."):
        await adopt(opened, "id", given=access(server.url))
    await left(opened, server)
    with pytest.raises(errors.InputError, match="No request is unknown, lost or overdue under the key key"):
        await adopt(opened, "id", key="key", given=access(server.url))


async def test_an_account_without_a_key_does_not_hide_the_matching_request(
    simulator, access, session, left, finished
) -> None:
    """The missing key is the error only if no request matches."""
    there, away = simulator(LOST_ANSWER), simulator(LOST_ANSWER)
    first = await session()
    await left(first, away, State.UNKNOWN, "away", prompt="a waltz far away")
    await left(first, there, State.UNKNOWN, "there")

    async def no_access(_: object) -> None:
        """The account's key is not on this machine."""

    opened = await session(resolver=no_access)
    assert (await adopt(opened, (await finished(there))[0], given=access(there.url))).key == "there"
    with pytest.raises(errors.MissingCredentials):
        await adopt(opened, away.bill()[0].generation_id, given=access(there.url))


async def test_a_late_answer_outranks_a_persons_id(
    simulator, access, session, left, finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The late answer's id wins; the error reports it, and nothing is overwritten."""
    from songflow.generation import rescue as module

    server, opened = simulator(LOST_ANSWER), await session()
    submission = await left(opened, server, State.UNKNOWN)
    look = module._may_be

    async def meanwhile(*args, **named):
        found = await look(*args, **named)
        await opened.library.ledger.submissions.accepted(submission.id, "theirs", (), None)
        return found

    monkeypatch.setattr(module, "_may_be", meanwhile)
    with pytest.raises(errors.InputError, match="is not 'unknown' any more"):
        await adopt(opened, (await finished(server))[0], given=access(server.url))
    assert (await opened.library.ledger.submissions.get(submission.id)).generation_id == "theirs"


# --- writing off ------------------------------------------------------------------------------------------


async def test_a_write_off_ends_the_search_and_frees_the_reservation(
    simulator, access, session, left, song_request
) -> None:
    """Rescue no longer lists it, and it no longer blocks the same body."""
    server, opened = simulator(LOST_ANSWER), await session()
    await left(opened, server, State.UNKNOWN)
    assert (await opened.library.ledger.money.balance()).reserved > 0
    given_up = await write_off(opened, "key")
    assert (given_up.key, given_up.state, given_up.exit_code) == ("key", "unknown", 0)
    assert await opened.library.ledger.money.balance() == Balance("library", 0.0, 0.0, 0.0)
    assert await rescue(opened, access(server.url)) == []
    assert (await generate_in(opened, song_request(), access(server.url), key="new")).stored
    with pytest.raises(
        errors.InputError, match=r"nothing to write off under the key 'key' \(it is 'unknown'\)"
    ):
        await write_off(opened, "key")


async def test_only_unknown_outcomes_can_be_written_off(simulator, access, session, left) -> None:
    """A running generation is collected instead, and an unknown key is an error."""
    server, opened = simulator(), await session()
    await left(opened, server)
    with pytest.raises(errors.InputError, match="it is 'accepted'"):
        await write_off(opened, "key")
    with pytest.raises(errors.InputError, match=r"under the key 'no such'\."):
        await write_off(opened, "no such")


async def test_the_first_post_of_a_resubmitted_request_can_be_written_off(
    simulator, access, session, left
) -> None:
    """Its second submission succeeded; the first, whose outcome stays unknown, need not be listed forever."""
    server, opened = simulator(LOST_ANSWER), await session()
    await left(opened, server, State.UNKNOWN)
    await resubmit(opened, "key", access(server.url))
    (listed,) = await rescue(opened, access(server.url))
    assert (listed.submission, listed.state) == (1, "unknown")
    assert (await write_off(opened, "key")).submission == 1
    assert await rescue(opened, access(server.url)) == []


# --- paying again -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.UNKNOWN, State.LOST, State.OVERDUE])
async def test_a_person_may_pay_again(simulator, access, session, left, state: State) -> None:
    """Two POSTs on the bill, two rows in the ledger, and the song is stored."""
    faults = [LOST_ANSWER] if state is State.UNKNOWN else []
    server, opened = simulator(*faults), await session()
    await left(opened, server, state)
    result = await resubmit(opened, "key", access(server.url))
    assert (len(result.stored), len(server.bill())) == (2, 2)
    assert [one.ordinal for one in await opened.library.ledger.submissions.of_key("key")] == [1, 2]


async def test_a_person_may_pay_again_for_a_failure(simulator, access, session, left) -> None:
    """The gateway failed; a person wants it tried once more."""
    server, opened = simulator({"fault": "failure", "fail_reason": "a hiccup"}), await session()
    await left(opened, server)
    assert exit_code(await rescue(opened, access(server.url))) == 4
    assert (await resubmit(opened, "key", access(server.url))).stored
    assert len(server.bill()) == 2


async def test_a_late_first_answer_is_collected_too(simulator, access, session, left, finished) -> None:
    """Both were paid for: four songs."""
    server, opened = simulator(LOST_ANSWER), await session()
    await left(opened, server, State.UNKNOWN)
    await resubmit(opened, "key", access(server.url))
    late = await adopt(opened, (await finished(server))[0], given=access(server.url))
    assert (late.submission, late.exit_code) == (1, 0)
    songs = await opened.library.ledger.songs.of_key("key")
    assert len({song.path for song in songs if song.path}) == 4


@pytest.mark.parametrize("state", [State.ACCEPTED, State.RUNNING])
async def test_a_collectable_generation_is_not_resubmitted(
    simulator, access, session, left, posts, state: State
) -> None:
    """The error has the command that collects it."""
    server, opened = simulator(), await session()
    await left(opened, server, state)
    with pytest.raises(errors.InputError, match=f"is '{state}': there is nothing to pay again") as caught:
        await resubmit(opened, "key", access(server.url))
    assert "--key key" in caught.value.next
    assert posts(server) == 1


async def test_an_unknown_key_cannot_be_resubmitted(simulator, access, session) -> None:
    """A typing error buys nothing."""
    server, opened = simulator(), await session()
    with pytest.raises(errors.InputError, match="does not know the key 'no such'"):
        await resubmit(opened, "no such", access(server.url))
    assert server.bill() == []


async def test_an_answer_in_the_spool_needs_no_second_payment(
    simulator, access, session, left, posts
) -> None:
    """It is adopted before a person's second payment."""
    server, opened = simulator(LOST_ANSWER), await session()
    submission = await left(opened, server, State.UNKNOWN)
    entry = SpoolEntry(
        submission.id, "key", "simulator", server.url, "test", server.bill()[0].generation_id, (), "2026"
    )
    opened.library.spool.append(entry)
    with pytest.raises(errors.InputError, match="is 'accepted': there is nothing to pay again"):
        await resubmit(opened, "key", access(server.url))
    assert posts(server) == 1


async def test_a_resubmission_whose_process_died_is_continued_and_not_paid_twice(
    simulator, access, session, left, posts, song_request
) -> None:
    """An overdue first row outranks the second intent, which the next attempt must still find."""
    from songflow.generation.policy import BY_A_PERSON, PaidRequest
    from songflow.generation.submit import _intent
    from songflow.ledger.lease import Lease

    server, opened = simulator(), await session()
    way = access(server.url)
    await left(opened, server, State.OVERDUE)
    ledger = opened.library.ledger.submissions
    intent = _intent(opened, PaidRequest(song_request(), "key"), way)
    died = await ledger.intend(intent, Lease.take(-1.0), pay_again=BY_A_PERSON)
    assert (died.mine, died.submission.ordinal) == (True, 2)
    again = await ledger.intend(intent, Lease.take(60.0), pay_again=BY_A_PERSON)
    assert (again.mine, again.submission.id) == (True, died.submission.id)
    other = await ledger.intend(intent, Lease.take(60.0), pay_again=BY_A_PERSON)
    assert (other.mine, other.submission.id) == (False, died.submission.id)
    assert posts(server) == 1


async def test_resubmitting_respects_the_pause(
    simulator, access, session, left, finished, library_settings, posts
) -> None:
    """A paused library pays for nothing, not even for a person; rescue still collects."""
    server, opened = simulator(LOST_ANSWER), await session()
    await left(opened, server, State.UNKNOWN)
    await opened.library.ledger.money.pause("enough")
    with pytest.raises(errors.SpendingStopped, match=r"paused .*: enough") as caught:
        await resubmit(opened, "key", access(server.url))
    assert (caught.value.exit_code, posts(server)) == (6, 1)
    assert (await adopt(opened, (await finished(server))[0], given=access(server.url))).exit_code == 0
