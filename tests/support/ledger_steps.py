"""The steps of the ledger's state machine: processes pay, wait, die, wake too late and are rescued, and a person acts.

Hypothesis draws them; `ledger_model.py` has the model and the promises that are checked after each.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from support.ledger_model import (
    ANSWER,
    BODIES,
    DAYS,
    KEYS,
    ROUNDING,
    WAITED_FOR,
    LedgerModel,
    Process,
    Work,
    end_process,
    intent_of,
    scopes_of,
    start_process,
    take_of,
)

from songflow.generation.policy import AFTER_ERRORS, BY_A_PERSON
from songflow.generation.submit import settle_dead_sender
from songflow.ledger import RULES, Intent, SongState, State, StoredFile
from songflow.ledger.lease import Lease
from songflow.ledger.queries import leading_submission
from songflow.ledger.rows import Caps
from songflow.ledger.songs import Lineage
from songflow.ledger.spool import SpoolEntry

some = st.integers(0, 10**6)
"""Picks one of whatever there is."""


ACTIONS: list[tuple[int, str, Callable[[Any], object], dict[str, st.SearchStrategy[Any]]]] = []


def action(
    weight: int, possible: Callable[[Any], object] = lambda _: True, **drawn: st.SearchStrategy[Any]
) -> Callable[[Any], Any]:
    """A possible event: its frequency, its condition, and what is drawn for it.

    Hypothesis' own rules are equally likely and switched off at random, so that few examples reached a paid song.
    """

    def add(method: Any) -> Any:
        ACTIONS.append((weight, method.__name__, possible, drawn))
        return method

    return add


class LedgerMachine(LedgerModel):
    """Processes, a gateway, a person and time, all working on one ledger."""

    @initialize(
        total=st.sampled_from([None, None, 2.0]),
        day=st.sampled_from([None, None, 1.5]),
        run=st.sampled_from([None, None, 1.0]),
        kinds=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    )
    def begin(
        self, total: float | None, day: float | None, run: float | None, kinds: tuple[bool, ...]
    ) -> None:
        self.caps = Caps(total, day, run)
        self.processes = [start_process(here) for here in kinds]

    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        """One of the actions that are possible now."""
        possible = {name: (weight, drawn) for weight, name, can, drawn in ACTIONS if can(self)}
        names = [name for name, (weight, _) in possible.items() for _ in range(weight)]
        name = data.draw(st.sampled_from(names), label="action")
        drawn = possible[name][1]
        getattr(self, name)(**{one: data.draw(strategy, label=one) for one, strategy in drawn.items()})

    # --- paying -------------------------------------------------------------------------------------------

    @action(
        6,
        who=some,
        key=st.sampled_from(KEYS),
        other_body=st.sampled_from([False] * 7 + [True]),
        price=st.sampled_from([0.1, 0.3, 1.0]),
        day=st.sampled_from(DAYS),
        run=st.sampled_from([None, "r1", "r2"]),
        look=st.booleans(),
        pay_again=st.sampled_from([frozenset(), frozenset(), AFTER_ERRORS, BY_A_PERSON]),
    )
    def intend(
        self,
        who: int,
        key: str,
        other_body: bool,
        price: float,
        day: str,
        run: str | None,
        look: bool,
        pay_again: frozenset[State],
    ) -> None:
        """A process wants a song: under a new key, its own, another's, or to pay again."""
        prompt = list(BODIES)[(KEYS.index(key) == 2) ^ other_body]
        intent = intent_of(key, prompt, price, day, run, self.caps)
        self.pay(self.pick(self.processes, who), intent, look, pay_again)

    def pay(self, process: Process, intent: Intent, look: bool, pay_again: frozenset[State]) -> None:
        """One intent, and a check of its result."""
        key = intent.key
        known = self.run(self.ledger.submissions.of_key(key))
        counters, generations = self.counters(), self.fetch("generations")
        lease = Lease(process.identity, uuid.uuid4().hex, datetime.now(UTC) + timedelta(hours=1))
        claim = self.step(
            "intend",
            self.ledger.submissions.intend(intent, lease, stop_at_twin=look, pay_again=pay_again),
        )
        stored = next((row["body"] for row in generations if row["key"] == key), intent.body)
        assert (claim.conflict is not None) == (stored != intent.body)
        if claim.mine:
            assert not self.paused
            for scope in scopes_of(intent.day, intent.budget_run):
                spent, reserved, _ = self.counters()[scope]
                cap = {"library": self.caps.total, "day": self.caps.per_day, "run": self.caps.per_run}
                limit = cap[scope.partition(":")[0]]
                assert limit is None or spent + reserved <= limit + 2 * ROUNDING
            self.check_that_it_may_be_sent(claim.submission.id, known, pay_again)
            self.works.append(Work(process, key, claim.submission.id, lease))
        else:
            assert self.rows == self.before, "who may not send leaves no trace"
            assert self.counters() == counters
            assert claim.stopped is None or self.paused or self.caps != Caps()
        if claim.twin is not None:
            type(self).seen["twin"] += 1
            assert look
            assert key not in {row["key"] for row in generations}
        if claim.stopped is not None:
            type(self).seen["paused" if self.paused else "over budget"] += 1

    def check_that_it_may_be_sent(self, mine: str, known: list[Any], pay_again: frozenset[State]) -> None:
        """A new POST: the first, one after an unbilled POST, or one that a person allows."""
        current = leading_submission(known)
        type(self).seen["taken over" if mine in {one.id for one in known} else "new row"] += 1
        if mine in {one.id for one in known}:
            (taken,) = [one for one in known if one.id == mine]
            assert taken.state is State.INTENDED
            assert taken.lease.is_dead()
        elif current is not None and not RULES[current.state].sends:
            assert current.state in pay_again
            assert not {one.state for one in known} & {State.INTENDED, State.SENDING}
            self.permitted[current.key] += 1
            type(self).seen[f"paid again: {current.state}"] += 1

    @action(
        10,
        lambda self: self.works,
        which=some,
        answer=st.sampled_from(["accepted", "accepted", "accepted", "lost", "unknown", "refused", "unsent"]),
        spool=st.booleans(),
        renew=st.booleans(),
    )
    def go_on(self, which: int, answer: str, spool: bool, renew: bool) -> None:
        """A process takes its next step: fence, POST, spool, ledger. (One rule, so that many reach the end.)"""
        work = self.pick(self.works, which)
        if work.stage == "intended":
            self.begin_send(work)
        elif work.stage == "sending":
            self.post(work, answer)
        elif spool and work.generation_id and not work.spooled:
            self.write_to_the_spool(work)
        else:
            self.commit_the_answer(work, renew)

    def begin_send(self, work: Work) -> None:
        """Only the holder of the fence begins to send."""
        row = self.rows[work.submission_id]
        mine = (row["state"], row["fence"]) == (State.INTENDED, work.lease.fence)
        act = self.ledger.submissions.begin_send(work.submission_id, work.lease.extended(3600))
        assert self.step("begin_send", act) is mine
        if mine:
            work.stage = "sending"
        else:
            self.works.remove(work)

    def post(self, work: Work, answer: str) -> None:
        """The POST is sent. `lost` was billed without an answer; `unknown` was not billed."""
        work.stage, work.answer = "answered", answer
        if answer != "unsent":
            self.gateway.posts[work.submission_id] += 1
        if answer in {"accepted", "lost"}:
            self.gateway.billed[work.submission_id] = f"g-{work.submission_id}"
        if answer == "accepted":
            work.generation_id = self.gateway.billed[work.submission_id]
        self.step(f"post {answer}")

    def write_to_the_spool(self, work: Work) -> None:
        """An accepted id is written to the local disk."""
        entry = SpoolEntry(work.submission_id, work.key, "g", "u", "a", work.generation_id, (), "2026")
        self.spool.append(entry)
        work.spooled = True
        self.spooled[work.submission_id] = entry.generation_id or ""
        self.step("spool")

    def commit_the_answer(self, work: Work, renew: bool) -> None:
        """The answer is committed, in time or after its sender was given up."""
        self.works.remove(work)
        row = self.rows[work.submission_id]
        origin = State(row["state"])
        had_it = work.answer == "accepted" and row["generation_id"] == work.generation_id
        moves, known = self.ledger.submissions, work.submission_id
        if work.answer == "accepted":
            assert work.generation_id is not None
            lease = work.lease.extended(3600) if renew else None
            act = moves.accepted(known, work.generation_id, (), ANSWER, lease)
            target = State.ACCEPTED
            self.told[known] = work.generation_id
            self.charged_late |= row["written_off_at"] is not None
        else:
            target = {"refused": State.REFUSED, "unsent": State.UNSENT}.get(work.answer, State.UNKNOWN)
            act = moves.settle_sending(known, target, "so it was", ANSWER)
        moved = self.step(f"commit {target}", act)
        assert bool(moved) is (had_it or target in RULES[origin].then)

    @action(1, lambda self: self.at("intended"), which=some)
    def give_up_before_sending(self, which: int) -> None:
        """Cancelled, or no gateway: the intent is left for the next process."""
        work = self.pick(self.at("intended"), which)
        self.works.remove(work)
        self.step("give up", self.ledger.submissions.release(work.submission_id, work.lease.fence))

    # --- dying, and being found ---------------------------------------------------------------------------

    @action(1, which=some)
    def crash(self, which: int) -> None:
        """A process dies with all its memory; another starts in its place."""
        number = which % len(self.processes)
        process = self.processes[number]
        self.works = [work for work in self.works if work.process is not process]
        end_process(process)
        if process.child is None:
            self.expire(process)
        self.processes[number] = start_process(process.child is not None)
        self.step("crash")

    @action(1, which=some)
    def sleep_too_long(self, which: int) -> None:
        """A process is suspended until its leases have expired, and then continues."""
        self.expire(self.pick(self.processes, which))
        self.step("sleep too long")

    @action(2, lambda self: self.of_state({State.SENDING, State.UNKNOWN}), which=some)
    def settle_a_sender(self, which: int) -> None:
        """A sender that may be dead is settled: its answer is in the spool, or its outcome is unknown."""
        known = self.pick(self.of_state({State.SENDING, State.UNKNOWN}), which)
        submission = self.run(self.ledger.submissions.get(known))
        if submission.state is State.SENDING and not submission.lease.is_dead():
            return
        self.charged_late |= submission.written_off_at is not None and known in self.spooled
        self.step("settle a sender", settle_dead_sender(self.session(), submission))
        expected = State.ACCEPTED if known in self.spooled else State.UNKNOWN
        type(self).seen[f"found dead: {expected}"] += 1
        assert self.rows[known]["state"] == expected

    @action(1, lambda self: self.of_state({State.INTENDED}), which=some)
    def settle_an_intent(self, which: int) -> None:
        """Rescue finds an intent whose process died before it sent anything."""
        known = self.pick(self.of_state({State.INTENDED}), which)
        submission = self.run(self.ledger.submissions.get(known))
        if submission.lease.is_dead():
            assert self.step(
                "settle an intent", self.ledger.submissions.never_sent(known, submission.lease.fence, "dead")
            )

    @action(2, lambda self: self.unknown_and_billed(), which=some)
    def adopt(self, which: int) -> None:
        """A person finds the id of an unknown request in the gateway's own log."""
        known = self.pick(self.unknown_and_billed(), which)
        self.told[known] = self.gateway.billed[known]
        self.charged_late |= self.rows[known]["written_off_at"] is not None
        assert self.step("adopt", self.ledger.submissions.accepted(known, self.told[known], (), None))

    @action(3, lambda self: self.may_be_paid_again(), which=some, who=some)
    def resubmit(self, which: int, who: int) -> None:
        """A person pays again for what is unknown, lost, overdue or failed."""
        by_state = {self.rows[known]["state"]: known for known in self.may_be_paid_again()}
        key = self.rows[by_state[self.pick(sorted(by_state), which)]]["key"]
        (body,) = [one["body"] for one in self.fetch("generations") if one["key"] == key]
        (prompt,) = [prompt for prompt, request in BODIES.items() if request.canonical() == body]
        intent = intent_of(key, prompt, 0.1, DAYS[0], None, self.caps)
        self.pay(self.pick(self.processes, who), intent, False, BY_A_PERSON)

    def may_be_paid_again(self) -> list[str]:
        return self.of_state(set(BY_A_PERSON))

    def unknown_and_billed(self) -> list[str]:
        return [known for known in self.of_state({State.UNKNOWN}) if known in self.gateway.billed]

    # --- waiting and collecting ---------------------------------------------------------------------------

    @action(
        7,
        lambda self: self.of_state(set(State) - {State.INTENDED, State.SENDING}),
        which=some,
        word=st.sampled_from(["running", "overdue", "lost", "failed", "end", "end", "collect", "collect"]),
        takes=st.lists(st.tuples(st.sampled_from("xyz"), st.booleans()), min_size=1, max_size=3),
        fails=st.sampled_from([False, False, True]),
        refund=st.booleans(),
    )
    def hear(self, which: int, word: str, takes: list[tuple[str, bool]], fails: bool, refund: bool) -> None:
        """A result of a generation is recorded, possibly by a late waiter in any state."""
        ended = self.of_state({*WAITED_FOR, State.SUCCEEDED, State.FAILED})
        announced = self.announced()
        if word == "collect" and announced:
            self.collect(self.pick(announced, which), problem=fails)
        elif word in {"collect", "end"} and ended:
            self.end(self.pick(ended, which), takes, fails, refund)
        else:
            known = self.pick(self.of_state(set(State) - {State.INTENDED, State.SENDING}), which)
            self.stop_or_go(known, State.RUNNING if word in {"collect", "end"} else State(word), refund)

    def stop_or_go(self, known: str, target: State, refund: bool) -> None:
        """It is running, or the wait for it ends."""
        origin = State(self.rows[known]["state"])
        moves = self.ledger.submissions
        refund = refund and target is State.FAILED
        act = (
            moves.running(known)
            if target is State.RUNNING
            else moves.stop_waiting(known, target, "it says so", refund=refund)
        )
        allowed = target in RULES[origin].then
        assert self.step(f"hear {target}", act) is allowed
        if allowed and refund:
            self.refunded.add(known)

    def end(self, known: str, takes: list[tuple[str, bool]], fails: bool, refund: bool) -> None:
        """The end of a generation with its takes, once or again (a fresh URL, a late take)."""
        row = self.rows[known]
        origin, target = State(row["state"]), State.FAILED if fails else State.SUCCEEDED
        announced = [take_of(known, name, broken=broken or fails) for name, broken in takes]
        moved = target in RULES[origin].then
        if moved and not fails and known in self.refunded:
            self.refunded.discard(known)
            self.charged_late = True
            type(self).seen["charged again"] += 1
        elif moved and fails and refund:
            self.refunded.add(known)
        # What is announced anew has not been tried.
        self.last_problem -= {song["id"] for song in self.fetch("songs") if song["submission_id"] == known}
        failure = "it says so" if fails else None
        self.step(
            f"end {target}",
            self.ledger.songs.ended(
                known, row["key"], Lineage("regular", None), announced, ANSWER, failure, refund and fails
            ),
        )
        assert self.rows[known]["state"] == (target if moved else origin)
        if moved:
            assert self.rows[known]["written_off_at"] is None, "its songs must be found again"

    def collect(self, song_row: int, problem: bool) -> None:
        """A take is stored, or its download fails."""
        song = self.run(self.ledger.songs.get(song_row))
        if problem:
            self.last_problem.add(song.id)
            self.step("song problem", self.ledger.songs.problem(song, "no way"))
        else:
            file = StoredFile(f"/{song.id}.mp3", 9, "ab" * 32, 2.0, 44_100, 2, 0.9, -14.0)
            self.step("song stored", self.ledger.songs.stored(song, file))

    def announced(self) -> list[int]:
        return [song["id"] for song in self.fetch("songs") if song["state"] == SongState.ANNOUNCED]

    @action(1, lambda self: self.of_state(WAITED_FOR), which=some, who=some, release=st.booleans())
    def look_after(self, which: int, who: int, release: bool) -> None:
        """A process takes a lease on a generation, and may release it."""
        known = self.pick(self.of_state(WAITED_FOR), which)
        lease = Lease(
            self.pick(self.processes, who).identity, uuid.uuid4().hex, datetime.now(UTC) + timedelta(hours=1)
        )
        self.step("hold", self.ledger.submissions.hold(known, lease))
        if release:
            self.run(self.ledger.submissions.release(known, lease.fence))
            self.read()

    # --- a person -----------------------------------------------------------------------------------------

    @action(1, lambda self: self.rows, which=some)
    def write_off(self, which: int) -> None:
        """A person gives up a submission or its songs; only open ones, and only once."""
        known = self.pick(list(self.rows), which)
        row = self.rows[known]
        expected = row["written_off_at"] is None and self.is_open(row)
        assert self.step("write off", self.ledger.submissions.write_off(known)) is expected

    @action(1, stop=st.sampled_from([True, False, False, False]))
    def pause_or_resume(self, stop: bool) -> None:
        """A person stops all spending, or allows it again."""
        if stop:
            self.step("pause", self.ledger.money.pause("enough"))
        else:
            assert self.step("resume", self.ledger.money.resume()) is self.paused
        self.paused = stop

    @action(1)
    def list_what_is_open(self) -> None:
        """`uncollected` returns exactly what may have been paid for and lacks its songs or an outcome."""
        listed = self.step("list", self.ledger.submissions.uncollected())
        waiting = {song["submission_id"] for song in self.fetch("songs") if song["state"] == "announced"}
        assert {one.id for one in listed} == {
            known
            for known, row in self.rows.items()
            if row["written_off_at"] is None and (RULES[State(row["state"])].unsettled or known in waiting)
        }
