"""The intent to pay: who may send, who reattaches, who stops."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import pytest
from sqlalchemy import func, select

from songflow.families.udio import UDIO, SongRequest
from songflow.ledger import Ledger, RunIds, State, intents, schema
from songflow.ledger.engine import ledger_url
from songflow.ledger.lease import Lease
from songflow.ledger.songs import Lineage

PAYLOAD = {"status": 200, "body": "{}"}


async def test_a_new_key_is_the_callers_to_send(ledger: Ledger, intent, alive) -> None:
    """The intent is committed with body, account, price, runs and lease, and belongs to the caller."""
    lease, runs = alive(), RunIds("flow", "root", "task")
    claim = await ledger.submissions.intend(intent("key", runs=runs), lease)
    assert claim.mine
    stored = await ledger.submissions.get(claim.submission.id)
    assert stored == claim.submission
    assert (stored.state, stored.ordinal, stored.billed, stored.price) == (State.INTENDED, 1, "no", 1.0)
    assert (stored.lease, stored.runs) == (lease, runs)
    assert (stored.any_id, stored.track_ids) == (None, ())
    generation = await ledger.submissions.generation("key")
    assert generation.body == intent().body
    assert generation.sent_fields["prompt"] == "a slow waltz"
    assert await ledger.submissions.generation("another") is None


async def test_submission_ids_sort_by_time(ledger: Ledger, intent, alive) -> None:
    """So that new rows are adjacent in every index and a growing ledger stays fast."""
    before, ids = time.time_ns() // 1_000_000, []
    for number in range(5):
        claim = await ledger.submissions.intend(intent(f"key {number}"), alive())
        ids.append(uuid.UUID(claim.submission.id))
        await asyncio.sleep(0.002)
    assert ids == sorted(ids)
    assert {(one.version, one.variant) for one in ids} == {(7, uuid.RFC_4122)}
    assert before <= ids[0].int >> 80 <= time.time_ns() // 1_000_000


@pytest.mark.parametrize(
    "state",
    [State.SENDING, State.ACCEPTED, State.RUNNING, State.OVERDUE, State.SUCCEEDED, State.UNKNOWN, State.LOST],
)
@pytest.mark.parametrize("lease", ["alive", "dead"])
async def test_a_key_that_may_be_paid_for_is_never_sent_again(
    ledger: Ledger, intent, alive, in_state, request: pytest.FixtureRequest, state: State, lease: str
) -> None:
    """From `sending` on, a second caller gets the existing submission, whether its process lives or not."""
    before = await in_state(state, lease=request.getfixturevalue(lease)())
    claim = await ledger.submissions.intend(intent(), alive(), pay_again=frozenset({State.FAILED}))
    assert (claim.mine, claim.submission) == (False, before)
    assert len(await ledger.submissions.of_key("key")) == 1


async def test_an_intent_under_a_live_lease_belongs_to_its_holder(
    ledger: Ledger, intent, alive, in_state
) -> None:
    """While the first process may still send, the second can only read it."""
    before = await in_state(State.INTENDED)
    claim = await ledger.submissions.intend(intent(), alive())
    assert (claim.mine, claim.submission) == (False, before)


async def test_an_intent_under_a_dead_lease_is_taken_over(
    ledger: Ledger, intent, alive, dead, in_state
) -> None:
    """The same row gets a new fence and account; the old holder may no longer send."""
    old = await in_state(State.INTENDED, lease=dead())
    claim = await ledger.submissions.intend(intent(account="block:mine", price=3.0), alive())
    assert claim.mine
    assert (claim.submission.id, claim.submission.ordinal) == (old.id, 1)
    assert (claim.submission.account, claim.submission.price) == ("block:mine", 3.0)
    assert await ledger.submissions.begin_send(old.id, old.lease.extended(60.0)) is False
    assert await ledger.submissions.begin_send(old.id, claim.submission.lease) is True


async def test_begin_send_happens_once(ledger: Ledger, in_state) -> None:
    """The second compare-and-set of the same holder fails: the row has changed."""
    submission = await in_state(State.INTENDED)
    assert await ledger.submissions.begin_send(submission.id, submission.lease) is True
    assert await ledger.submissions.begin_send(submission.id, submission.lease) is False


async def test_begin_send_prolongs_the_lease(ledger: Ledger, in_state) -> None:
    """The lease outlives the POST."""
    submission = await in_state(State.INTENDED)
    longer = submission.lease.extended(1000.0)
    await ledger.submissions.begin_send(submission.id, longer)
    kept = (await ledger.submissions.get(submission.id)).lease
    assert kept == longer
    assert abs((kept.expires_at - longer.expires_at).total_seconds()) < 1.0


@pytest.mark.parametrize("state", [State.UNSENT, State.REFUSED])
async def test_an_unbilled_submission_is_repeated_as_a_new_row(
    ledger: Ledger, intent, alive, in_state, state: State
) -> None:
    """Rows are never overwritten: a repeat is another row of the same generation."""
    first = await in_state(state)
    claim = await ledger.submissions.intend(intent(), alive())
    assert claim.mine
    assert [one.ordinal for one in await ledger.submissions.of_key("key")] == [1, 2]
    assert await ledger.submissions.get(first.id) == first


async def test_a_failed_generation_is_paid_again_only_if_allowed(
    ledger: Ledger, intent, alive, in_state
) -> None:
    """The stored failure is returned until the caller allows a new submission."""
    failed = await in_state(State.FAILED)
    claim = await ledger.submissions.intend(intent(), alive())
    assert (claim.mine, claim.submission) == (False, failed)
    again = await ledger.submissions.intend(intent(), alive(), pay_again=frozenset({State.FAILED}))
    assert again.mine
    assert again.submission.ordinal == 2


async def test_a_run_does_not_pay_again_for_its_own_failure(ledger: Ledger, intent, alive, in_state) -> None:
    """A retry of a flow run is the same root run, however many rows it made; a new run is another one."""
    errors = frozenset({State.FAILED})
    first, second = RunIds("a", "root-1", "b"), RunIds("c", "root-2", "d")
    await in_state(State.FAILED, runs=first)
    again = await ledger.submissions.intend(intent(runs=first), alive(), pay_again=errors)
    assert (again.mine, again.submission.state) == (False, State.FAILED)
    new = await ledger.submissions.intend(intent(runs=second), alive(), pay_again=errors)
    assert new.mine
    await ledger.submissions.begin_send(new.submission.id, new.submission.lease)
    await ledger.submissions.settle_sending(new.submission.id, State.REFUSED, "no")
    for runs, mine in ((first, False), (RunIds(), True)):
        claim = await ledger.submissions.intend(intent(runs=runs), alive(), pay_again=errors)
        assert claim.mine is mine, runs


async def test_the_leading_submission_represents_its_generation(
    ledger: Ledger, intent, alive, in_state
) -> None:
    """A success outranks a later refusal; unknown outranks both states that were not billed."""
    await in_state(State.REFUSED)
    second = await in_state(State.UNKNOWN)
    assert (await ledger.submissions.intend(intent(), alive())).submission == second
    assert len(await ledger.submissions.of_key("key")) == 2


async def test_a_key_belongs_to_one_body(ledger: Ledger, intent, alive) -> None:
    """The same key with another body gets the stored generation to compare with, and nothing is written."""
    await ledger.submissions.intend(intent(), alive())
    claim = await ledger.submissions.intend(intent(prompt="a fast polka"), alive())
    assert not claim.mine
    assert claim.submission is None
    assert claim.conflict.sent_fields["prompt"] == "a slow waltz"
    assert len(await ledger.submissions.of_key("key")) == 1


async def test_a_generation_without_a_submission_gets_its_first(
    ledger: Ledger, intent, alive, in_state
) -> None:
    """After a manual repair of the ledger, for example."""
    await in_state(State.INTENDED)
    async with ledger.database.write("test") as connection:
        await connection.execute(schema.submissions.delete())
    claim = await ledger.submissions.intend(intent(), alive())
    assert (claim.mine, claim.submission.ordinal) == (True, 1)


# --- hash versions ----------------------------------------------------------------------------------------


@pytest.fixture
def second_version(monkeypatch: pytest.MonkeyPatch, intent):
    """A later Songflow, whose bodies have another field: an intent of its hash version 2."""
    monkeypatch.setitem(UDIO.hashed_fields, 2, (*UDIO.hashed_fields[1], "swing"))

    def make(key: str = "key", **fields: object):
        body = SongRequest(prompt="a slow waltz").body()
        body["gen_params"] |= {"swing": 0.5, **fields}
        return intent(key, body=json.dumps(body), body_hash=UDIO.body_hash(body, 2), hash_version=2)

    return make


async def test_a_new_default_is_not_a_new_body(ledger: Ledger, intent, alive, second_version) -> None:
    """A key stored under an older hash version is compared over that version's fields."""
    first = await ledger.submissions.intend(intent(), alive())
    later = second_version()
    assert later.body_hash != intent().body_hash
    again = await ledger.submissions.intend(later, alive())
    assert (again.conflict, again.submission) == (None, first.submission)
    other = await ledger.submissions.intend(second_version(prompt="a fast polka"), alive())
    assert other.conflict is not None


async def test_a_new_default_does_not_hide_a_twin(
    ledger: Ledger, in_state, dead, alive, second_version
) -> None:
    """An unsettled generation from before a new field still counts as the same body."""
    old = await in_state(State.UNKNOWN, "old", lease=dead())
    claim = await ledger.submissions.intend(second_version("new"), alive())
    assert claim.twin.submission == old


# --- twins ------------------------------------------------------------------------------------------------


UNSETTLED = [State.SENDING, State.ACCEPTED, State.RUNNING, State.OVERDUE, State.LOST, State.UNKNOWN]


@pytest.mark.parametrize("state", UNSETTLED)
async def test_a_body_left_unsettled_by_a_dead_run_stops_the_next(
    ledger: Ledger, intent, alive, dead, in_state, state: State
) -> None:
    """The twin is named, and nothing is written for the new key."""
    old = await in_state(state, "old", lease=dead())
    claim = await ledger.submissions.intend(intent("new"), alive())
    assert (claim.mine, claim.submission) == (False, None)
    assert (claim.twin.key, claim.twin.submission) == ("old", old)
    assert await ledger.submissions.generation("new") is None


@pytest.mark.parametrize("state", [state for state in State if state not in UNSETTLED])
async def test_a_settled_or_unbilled_body_is_not_a_twin(
    ledger: Ledger, intent, alive, dead, in_state, state: State
) -> None:
    """A new run of the same request makes a new song."""
    await in_state(state, "old", lease=dead())
    assert (await ledger.submissions.intend(intent("new"), alive())).mine


async def test_a_live_submission_is_not_a_twin(ledger: Ledger, intent, alive, in_state) -> None:
    """Two concurrent runs of the same request are allowed."""
    await in_state(State.ACCEPTED, "old", lease=alive())
    assert (await ledger.submissions.intend(intent("new"), alive())).mine


async def test_the_oldest_dead_twin_is_named(ledger: Ledger, intent, alive, dead, in_state) -> None:
    """Live ones in between are skipped."""
    await in_state(State.ACCEPTED, "live", lease=alive())
    await in_state(State.UNKNOWN, "older", lease=dead())
    await in_state(State.UNKNOWN, "newer", lease=dead())
    assert (await ledger.submissions.intend(intent("new"), alive())).twin.key == "older"


async def test_another_body_is_not_a_twin(ledger: Ledger, intent, alive, dead, in_state) -> None:
    """Only the same request counts."""
    await in_state(State.UNKNOWN, "old", lease=dead())
    assert (await ledger.submissions.intend(intent("new", prompt="a fast polka"), alive())).mine


async def test_a_caller_may_ignore_twins(ledger: Ledger, intent, alive, dead, in_state) -> None:
    """`stop_at_twin=False` does not look for them."""
    await in_state(State.UNKNOWN, "old", lease=dead())
    assert (await ledger.submissions.intend(intent("new"), alive(), stop_at_twin=False)).mine


async def test_a_success_is_a_twin_until_all_its_songs_are_collected(
    ledger: Ledger, intent, alive, dead, in_state, take
) -> None:
    """Uncollected songs stop the next run; a failed take does not."""
    old = await in_state(State.RUNNING, "old", lease=dead())
    takes = [take("a"), take("b", error="moderated")]
    songs = await ledger.songs.ended(old.id, "old", Lineage("regular", None), takes, PAYLOAD)
    assert (await ledger.submissions.intend(intent("new"), alive())).twin.key == "old"
    async with ledger.database.write("test") as connection:
        await connection.execute(
            schema.songs.update().where(schema.songs.c.id == songs[0].id).values(state="stored")
        )
    assert (await ledger.submissions.intend(intent("new"), alive())).mine


async def test_an_existing_key_is_not_stopped_by_twins(ledger: Ledger, intent, alive, dead, in_state) -> None:
    """It gets its own submission, whatever else is unsettled."""
    await in_state(State.UNKNOWN, "other", lease=dead())
    mine = await in_state(State.ACCEPTED, "mine", lease=dead())
    assert (await ledger.submissions.intend(intent("mine"), alive())).submission == mine


async def test_kin_are_left_out_before_they_are_read(
    ledger: Ledger, intent, alive, dead, in_state, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many unsettled replicates of one body, the next one reads only its own; a stranger's is found among them."""
    for number in range(1, 6):
        await in_state(State.ACCEPTED, f"cell_a-{number}", lease=dead(), kin="cell_a-")
    read: list[str] = []
    from_row = intents.Submission.from_row

    def counted(row):
        read.append(row["key"])
        return from_row(row)

    monkeypatch.setattr(intents, "Submission", SimpleNamespace(from_row=counted))
    claim = await ledger.submissions.intend(intent("cell_a-6", kin="cell_a-"), alive())
    assert (claim.mine, read) == (True, ["cell_a-6"])
    await in_state(State.ACCEPTED, "cellXa-1", lease=dead())  # _ is no wildcard
    read.clear()
    claim = await ledger.submissions.intend(intent("cell_a-7", kin="cell_a-"), alive())
    assert (claim.twin.key, read) == ("cellXa-1", ["cellXa-1"])


# --- after the POST ---------------------------------------------------------------------------------------


async def _answers(ledger: Ledger) -> list[dict]:
    async with ledger.database.read() as connection:
        rows = await connection.execute(select(schema.answers).order_by(schema.answers.c.id))
        return [dict(row) for row in rows.mappings()]


async def test_an_acceptance_stores_ids_answer_and_lease(ledger: Ledger, in_state, alive) -> None:
    """Ids are opaque: only characters that a database refuses are replaced."""
    submission = await in_state(State.SENDING)
    answer = {"status": 200, "headers": {"x-oneapi-request-id": "r"}, "body": "{}\x00"}
    lease = alive()
    assert await ledger.submissions.accepted(submission.id, "i\x00d", ["t1", "ü"], answer, lease)
    stored = await ledger.submissions.get(submission.id)
    assert (stored.generation_id, stored.track_ids, stored.lease) == ("i\ufffdd", ("t1", "ü"), lease)
    assert (stored.any_id, stored.billed, stored.error) == ("i\ufffdd", "yes", None)
    (kept,) = await _answers(ledger)
    assert (kept["kind"], kept["status"], kept["body"]) == ("submit", 200, "{}\ufffd")
    assert json.loads(kept["headers"]) == {"x-oneapi-request-id": "r"}


async def test_track_ids_alone_name_a_generation(ledger: Ledger, in_state) -> None:
    """If a gateway returns only track ids, the first of them identifies the generation; the lease stays."""
    submission = await in_state(State.SENDING)
    await ledger.submissions.accepted(submission.id, None, ["t1", "t2"], None)
    stored = await ledger.submissions.get(submission.id)
    assert (stored.any_id, stored.lease) == ("t1", submission.lease)
    assert await _answers(ledger) == []


async def test_a_late_answer_turns_unknown_into_accepted(ledger: Ledger, in_state, dead) -> None:
    """It may belong to a paid song."""
    submission = await in_state(State.SENDING, lease=dead())
    assert await ledger.submissions.unknown(submission.id, submission.lease.fence, "it died")
    assert (await ledger.submissions.get(submission.id)).error == "it died"
    assert await ledger.submissions.accepted(submission.id, "id", (), None)
    stored = await ledger.submissions.get(submission.id)
    assert (stored.state, stored.error, stored.settled_at) == (State.ACCEPTED, None, None)


async def test_only_the_sender_that_was_read_is_given_up(ledger: Ledger, in_state, alive) -> None:
    """A fence that has changed meanwhile is another sender's."""
    submission = await in_state(State.SENDING)
    assert await ledger.submissions.unknown(submission.id, alive().fence, "it died") is False


@pytest.mark.parametrize("state", [State.UNSENT, State.REFUSED, State.UNKNOWN])
async def test_a_settled_post_ends_its_lease(ledger: Ledger, in_state, state: State) -> None:
    """Its process may live on for days: that must not hide an unknown outcome from the next run."""
    submission = await in_state(State.SENDING)
    await ledger.submissions.settle_sending(submission.id, state, "so it ended\x00", PAYLOAD)
    stored = await ledger.submissions.get(submission.id)
    assert stored.lease.is_dead()
    assert stored.error == "so it ended\ufffd"
    assert len(await _answers(ledger)) == 1


async def test_only_final_states_set_settled_at(ledger: Ledger, in_state) -> None:
    """Overdue is not final; lost and failed are."""
    submission = await in_state(State.ACCEPTED)
    assert await ledger.submissions.running(submission.id)
    assert (await ledger.submissions.get(submission.id)).running_at is not None
    assert await ledger.submissions.stop_waiting(submission.id, State.OVERDUE, "late")
    assert (await ledger.submissions.get(submission.id)).settled_at is None
    assert await ledger.submissions.stop_waiting(submission.id, State.LOST, "gone")
    assert (await ledger.submissions.get(submission.id)).settled_at is not None


async def test_only_the_holder_releases_a_lease(ledger: Ledger, in_state, alive) -> None:
    """An earlier holder cannot."""
    submission = await in_state(State.ACCEPTED)
    now = alive()
    await ledger.submissions.hold(submission.id, now)
    await ledger.submissions.release(submission.id, submission.lease.fence)
    assert (await ledger.submissions.get(submission.id)).lease == now
    await ledger.submissions.release(submission.id, now.fence)
    assert (await ledger.submissions.get(submission.id)).lease.is_dead()


async def test_submissions_are_found_by_state_oldest_first(ledger: Ledger, in_state) -> None:
    """As rescue reads them."""
    first, second = await in_state(State.UNKNOWN, "one"), await in_state(State.OVERDUE, "two")
    await in_state(State.SUCCEEDED, "three")
    assert await ledger.submissions.in_states([State.OVERDUE, State.UNKNOWN]) == [first, second]


# --- races ------------------------------------------------------------------------------------------------


async def test_one_of_many_concurrent_intents_may_send(ledger: Ledger, intent) -> None:
    """Forty tasks with one key: one row, one holder, and all get the submission."""
    claims = await asyncio.gather(*(ledger.submissions.intend(intent(), Lease.take(60.0)) for _ in range(40)))
    assert [claim.mine for claim in claims].count(True) == 1
    assert len({claim.submission.id for claim in claims}) == 1
    async with ledger.database.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(schema.submissions))).scalar() == 1


async def test_one_of_many_concurrent_takeovers_may_send(ledger: Ledger, intent, dead, in_state) -> None:
    """A dead process's intent passes to exactly one of them."""
    await in_state(State.INTENDED, lease=dead())
    claims = await asyncio.gather(*(ledger.submissions.intend(intent(), Lease.take(60.0)) for _ in range(20)))
    assert [claim.mine for claim in claims].count(True) == 1


async def test_an_intent_stopped_by_a_twin_leaves_its_key_free(
    ledger: Ledger, intent, alive, dead, in_state
) -> None:
    """Of two that race for a new key, the one that stops at a twin leaves the key to the other."""
    await in_state(State.UNKNOWN, "old", lease=dead())
    stopped, went_on = await asyncio.gather(
        ledger.submissions.intend(intent("new"), alive()),
        ledger.submissions.intend(intent("new"), alive(), stop_at_twin=False),
    )
    assert went_on.mine
    assert stopped.twin is not None or stopped.submission == replace(went_on.submission)


# --- a holder that resumes ----------------------------------------------------------------------------------


@pytest.mark.postgres
async def test_a_holder_that_resumes_during_a_takeover_keeps_its_submission(
    postgres_url: str, tmp_path: Path, intent, alive, dead, until
) -> None:
    """PostgreSQL: its `sending` is committed between the other's read and lock; only one of them sends."""
    async with Ledger(ledger_url(postgres_url, tmp_path)) as ledger:
        claim = await ledger.submissions.intend(intent(), dead())
        holder, watcher = await asyncpg.connect(postgres_url), await asyncpg.connect(postgres_url)
        waking = holder.transaction()
        await waking.start()
        await holder.execute("UPDATE submissions SET state = 'sending'")
        taking = asyncio.create_task(ledger.submissions.intend(intent(), alive()))

        async def waits_for_the_row() -> int:
            return await watcher.fetchval(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )

        await until(waits_for_the_row)
        await waking.commit()
        found = await taking
        assert (found.mine, found.submission.id, found.submission.state) == (
            False,
            claim.submission.id,
            State.SENDING,
        )
        assert found.submission.lease == claim.submission.lease
        assert (await ledger.money.balance()).reserved == 1.0
        await holder.close()
        await watcher.close()
