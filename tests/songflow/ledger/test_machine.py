"""The ledger under any interleaving: processes that pay, wait, die, wake too late and are rescued, and a person.

Hypothesis draws the steps; each is one call of the real ledger. After each, the tables are read past the ledger
and compared with what a model of the gateway, of the processes and of the money says.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from songflow.families.udio import UDIO, SongRequest
from songflow.gateways import DIALECTS
from songflow.generation.policy import AFTER_ERRORS, BY_A_PERSON
from songflow.generation.submit import settle_dead_sender
from songflow.ledger import RULES, Intent, Ledger, SongState, State, StoredFile
from songflow.ledger.engine import ledger_url
from songflow.ledger.lease import Lease, ProcessIdentity, _boot, _start_time
from songflow.ledger.queries import leading_submission
from songflow.ledger.rows import Caps
from songflow.ledger.songs import AnnouncedTake, Lineage
from songflow.ledger.spool import Spool, SpoolEntry

KEYS = ("a", "b", "c")
BODIES = {prompt: SongRequest(prompt=prompt) for prompt in ("a slow waltz", "a fast polka")}
DAYS = ("2026-01-01", "2026-01-02")
ROUNDING = 1e-6
ANSWER = {"status": 200, "headers": {}, "body": "{}"}
OPEN_ENDS = {State.UNKNOWN, State.LOST, State.OVERDUE}
RESERVED = {State.INTENDED, State.SENDING, State.UNKNOWN}
FREE = {State.UNSENT, State.REFUSED}
WAITED_FOR = {State.ACCEPTED, State.RUNNING, State.OVERDUE, State.LOST}

some = st.integers(0, 10**6)
"""Picks one of whatever there is."""


@dataclass
class Process:
    """A simulated process. One on this host is a real child, so that its death can be detected."""

    identity: ProcessIdentity
    child: subprocess.Popen[bytes] | None
    alive: bool = True


@dataclass
class Work:
    """A submission in the hands of a process, and the answer that it has not recorded yet."""

    process: Process
    key: str
    submission_id: str
    lease: Lease
    stage: str = "intended"
    answer: str = ""
    generation_id: str | None = None
    spooled: bool = False


@dataclass
class Gateway:
    """The gateway's record: each POST that reached it, and the id of each billed one."""

    posts: Counter[str] = field(default_factory=Counter)
    billed: dict[str, str] = field(default_factory=dict)


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


class LedgerMachine(RuleBasedStateMachine):
    """Processes, a gateway, a person and time, all working on one ledger."""

    loop: ClassVar[asyncio.AbstractEventLoop]
    steps: ClassVar[int]
    seen: ClassVar[Counter[str]]

    # --- one example --------------------------------------------------------------------------------------

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=_memory()))
        self.spool = Spool(self.folder)
        self.ledger = self.open_ledger()
        self.run(self.ledger.__aenter__())
        self.processes: list[Process] = []
        self.works: list[Work] = []
        self.gateway = Gateway()
        self.spooled: dict[str, str] = {}
        self.told: dict[str, str] = {}
        self.permitted: Counter[str] = Counter()
        self.refunded: set[str] = set()
        self.last_problem: set[int] = set()
        self.charged_late = False
        self.paused = False
        self.caps = Caps()
        self.before: dict[str, dict[str, Any]] = {}
        self.rows: dict[str, dict[str, Any]] = {}
        self.read()

    def open_ledger(self) -> Ledger:
        """An empty ledger of this example's own."""
        raise NotImplementedError

    def fetch(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table, read without the ledger."""
        raise NotImplementedError

    def expire(self, process: Process) -> None:
        """Time passes: every lease of a process has ended."""
        raise NotImplementedError

    def teardown(self) -> None:
        try:
            self.everybody_dies_and_rescue_finds_it_all()
        finally:
            self.run(self.ledger.__aexit__())
            for process in self.processes:
                _end(process)
            shutil.rmtree(self.folder)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def read(self) -> None:
        self.before, self.rows = self.rows, {row["id"]: row for row in self.fetch("submissions")}

    def step(self, name: str, work: Coroutine[Any, Any, Any] | None = None) -> Any:
        """One step of the machine; it counts."""
        type(self).steps += 1
        type(self).seen[name] += 1
        result = None if work is None else self.run(work)
        self.read()
        return result

    def of_state(self, states: set[State]) -> list[str]:
        return [known for known, row in self.rows.items() if State(row["state"]) in states]

    def at(self, stage: str) -> list[Work]:
        return [work for work in self.works if work.stage == stage]

    def is_dead(self, submission_id: str) -> bool:
        return self.run(self.ledger.submissions.get(submission_id)).lease.is_dead()

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
        self.processes = [_start(here) for here in kinds]

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
        intent = _intent(key, prompt, price, day, run, self.caps)
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
            for scope in _scopes(intent.day, intent.budget_run):
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
        assert self.step(f"commit {target}", act) is (target in RULES[origin].then)

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
        _end(process)
        if process.child is None:
            self.expire(process)
        self.processes[number] = _start(process.child is not None)
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
        session: Any = SimpleNamespace(
            library=SimpleNamespace(ledger=self.ledger, spool=self.spool), tell=lambda notice: None
        )
        self.step("settle a sender", settle_dead_sender(session, submission))
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
        intent = _intent(key, prompt, 0.1, DAYS[0], None, self.caps)
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
        announced = [_take(known, name, broken=broken or fails) for name, broken in takes]
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

    def is_open(self, row: dict[str, Any]) -> bool:
        """True if its outcome is not known, or songs of it are not collected."""
        announced = {song["submission_id"] for song in self.fetch("songs") if song["state"] == "announced"}
        state = State(row["state"])
        return state in OPEN_ENDS or (state is State.SUCCEEDED and row["id"] in announced)

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

    # --- what always holds --------------------------------------------------------------------------------

    @invariant()
    def nothing_moves_off_the_table(self) -> None:
        """Rows stay, states change along RULES, and values are never overwritten."""
        for known, old in self.before.items():
            new = self.rows[known]
            was, now = State(old["state"]), State(new["state"])
            assert now is was or now in RULES[was].then
            assert (new["key"], new["ordinal"]) == (old["key"], old["ordinal"])
            assert old["generation_id"] in (None, new["generation_id"])
            if was is not State.INTENDED:
                assert (new["price"], new["budget_day"], new["budget_run"]) == (
                    old["price"],
                    old["budget_day"],
                    old["budget_run"],
                )
            if new["written_off_at"] is not None and old["written_off_at"] is None:
                assert self.is_open(new)
        assert all(
            State(row["state"]) is State.INTENDED
            for known, row in self.rows.items()
            if known not in self.before
        )

    @invariant()
    def nobody_pays_twice(self) -> None:
        """One POST per row, and no more billable rows than the first and those that a person allowed."""
        assert all(count == 1 for count in self.gateway.posts.values())
        maybe = Counter(row["key"] for row in self.rows.values() if State(row["state"]) not in FREE)
        assert all(count <= 1 + self.permitted[key] for key, count in maybe.items())
        posts = Counter(self.rows[known]["key"] for known in self.gateway.billed)
        assert all(count <= 1 + self.permitted[key] for key, count in posts.items())

    @invariant()
    def no_paid_id_is_lost(self) -> None:
        """Recorded ids are in the ledger; spooled ids are there or can still be adopted."""
        for known, generation_id in self.told.items():
            assert self.rows[known]["generation_id"] == generation_id
        for known, generation_id in self.spooled.items():
            row = self.rows[known]
            assert row["generation_id"] == generation_id or State(row["state"]) in {
                State.SENDING,
                State.UNKNOWN,
            }

    @invariant()
    def the_counters_are_the_sum_of_the_rows(self) -> None:
        """Spent, reserved and refunded, of the library, each day and each run; reserved only for open ones."""
        expected: dict[str, list[float]] = {}
        for known, row in self.rows.items():
            state = State(row["state"])
            held = row["price"] if state in RESERVED and row["written_off_at"] is None else 0.0
            refunded = row["price"] if known in self.refunded else 0.0
            spent = 0.0 if state in RESERVED | FREE else row["price"] - refunded
            assert row["held"] == pytest.approx(held)
            for scope in _scopes(row["budget_day"], row["budget_run"]):
                sums = expected.setdefault(scope, [0.0, 0.0, 0.0])
                sums[:] = (sums[0] + spent, sums[1] + held, sums[2] + refunded)
        found = self.counters()
        for scope, counted in found.items():
            assert counted == pytest.approx(expected.pop(scope, (0.0, 0.0, 0.0)), abs=ROUNDING), scope
            assert min(counted) > -ROUNDING
        assert not expected
        spent, reserved, _ = found.get("library", (0.0, 0.0, 0.0))
        if self.caps.total is not None and not self.charged_late:
            assert spent + reserved <= self.caps.total + 2 * ROUNDING

    @invariant()
    def every_song_has_its_file_or_its_reason(self) -> None:
        """After an attempt: stored with a path, or with a reason; failed takes have the gateway's."""
        for song in self.fetch("songs"):
            assert (song["state"] == SongState.STORED) == (song["path"] is not None) == bool(song["sha256"])
            if song["state"] == SongState.FAILED:
                assert song["error"]
            assert song["state"] != SongState.STORED or song["error"] is None
            if song["id"] in self.last_problem:
                assert song["state"] == SongState.STORED or song["error"]

    def counters(self) -> dict[str, tuple[float, float, float]]:
        return {
            row["scope"]: (row["spent"], row["reserved"], row["refunded"]) for row in self.fetch("budgets")
        }

    def everybody_dies_and_rescue_finds_it_all(self) -> None:
        """Finally all processes die: everything is settled, and every recorded or spooled id is in the ledger."""
        for process in self.processes:
            self.expire(process)
        session: Any = SimpleNamespace(
            library=SimpleNamespace(ledger=self.ledger, spool=self.spool), tell=lambda notice: None
        )
        for submission in self.run(self.ledger.submissions.in_states([State.SENDING, State.UNKNOWN])):
            if submission.state is State.SENDING or submission.id in self.spooled:
                assert submission.state is State.UNKNOWN or submission.lease.is_dead()
                self.run(settle_dead_sender(session, submission))
        for submission in self.run(self.ledger.submissions.in_states([State.INTENDED])):
            self.run(self.ledger.submissions.never_sent(submission.id, submission.lease.fence, "dead"))
        self.read()
        for known, generation_id in {**self.told, **self.spooled}.items():
            assert self.rows[known]["generation_id"] == generation_id
        assert not self.of_state({State.INTENDED, State.SENDING})
        self.before = {}
        self.the_counters_are_the_sum_of_the_rows()

    @staticmethod
    def pick(things: list[Any], which: int) -> Any:
        return things[which % len(things)]


class SqliteMachine(LedgerMachine):
    """On SQLite: one file for each example."""

    steps = 0
    seen: ClassVar[Counter[str]] = Counter()
    template: ClassVar[Path]

    def open_ledger(self) -> Ledger:
        shutil.copy(self.template, self.folder / "ledger.sqlite")
        self.raw = sqlite3.connect(self.folder / "ledger.sqlite", isolation_level=None)
        self.raw.row_factory = sqlite3.Row
        return Ledger(ledger_url(None, self.folder))

    def fetch(self, table: str) -> list[dict[str, Any]]:
        return [dict(row) for row in self.raw.execute(f"SELECT * FROM {table}")]

    def expire(self, process: Process) -> None:
        self.raw.execute(
            "UPDATE submissions SET lease_expires_at = '2026-01-01 00:00:00.000000' "
            "WHERE (lease_host, lease_pid) = (?, ?)",
            (process.identity.host, process.identity.pid),
        )

    def teardown(self) -> None:
        super().teardown()
        self.raw.close()


class PostgresMachine(LedgerMachine):
    """On PostgreSQL: the tables are emptied for each example."""

    steps = 0
    seen: ClassVar[Counter[str]] = Counter()
    url: ClassVar[str]

    def open_ledger(self) -> Ledger:
        self.raw = self.run(asyncpg.connect(self.url))
        self.run(self.raw.execute("TRUNCATE songs, answers, submissions, generations, budgets, switches"))
        return Ledger(ledger_url(self.url, self.folder))

    def fetch(self, table: str) -> list[dict[str, Any]]:
        return [dict(row) for row in self.run(self.raw.fetch(f"SELECT * FROM {table}"))]

    def expire(self, process: Process) -> None:
        self.run(
            self.raw.execute(
                "UPDATE submissions SET lease_expires_at = '2026-01-01Z' WHERE lease_host = $1 AND lease_pid = $2",
                process.identity.host,
                process.identity.pid,
            )
        )

    def teardown(self) -> None:
        super().teardown()
        self.run(self.raw.close())


def _memory() -> str | None:
    """A folder in memory, if there is one, where a sync is fast."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _start(here: bool) -> Process:
    """A process on this host (a real child), or on another host, which only its leases show."""
    if not here:
        return Process(ProcessIdentity(f"host-{uuid.uuid4().hex[:8]}", "boot", 1, "1"), None)
    child = subprocess.Popen(["sleep", "3600"])
    start = _start_time(child.pid)
    assert start
    return Process(ProcessIdentity(socket.gethostname(), _boot(), child.pid, start), child)


def _end(process: Process) -> None:
    if process.child is not None:
        process.child.kill()
        process.child.wait()


def _scopes(day: str, run: str | None) -> list[str]:
    return ["library", f"day:{day}", *([f"run:{run}"] if run else [])]


def _intent(key: str, prompt: str, price: float, day: str, run: str | None, caps: Caps) -> Intent:
    request = BODIES[prompt]
    return Intent(
        key=key,
        body=request.canonical(),
        body_hash=UDIO.body_hash(request.body()),
        hash_version=UDIO.hash_version,
        model_type=request.model_type,
        mode=request.mode.value,
        gateway="openai-hk",
        dialect=DIALECTS["openai-hk"].stored(),
        base_url="https://gateway.example",
        account="env:OPENAI_HK_KEY",
        key_fingerprint="0123456789ab",
        price=price,
        caps=caps,
        day=day,
        budget_run=run,
    )


def _take(submission_id: str, name: str, *, broken: bool) -> AnnouncedTake:
    url = None if broken else "https://files.example/song.mp3"
    return AnnouncedTake(
        f"{submission_id}-{name}", "T", (), None, 2.0, url, None, "moderated" if broken else None, "{}"
    )


def _settings(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[
            Phase.generate
        ],  # a failing example is replayed exactly; shrinking it here would take minutes
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """One event loop for all examples, driven step by step."""
    made = asyncio.new_event_loop()
    yield made
    made.close()


PAYING = (
    *("intend", "begin_send", "give up", "spool", "crash", "sleep too long", "settle a sender", "adopt"),
    *("hold", "write off", "pause", "resume", "list", "new row", "taken over", "paused"),
    *(f"post {answer}" for answer in ("accepted", "lost", "unknown", "refused", "unsent")),
    *(f"commit {state}" for state in ("accepted", "unknown", "refused", "unsent")),
    *(f"hear {state}" for state in ("running", "overdue", "lost", "failed")),
    *("end succeeded", "end failed", "song stored"),
)
"""What happens in any thousand steps."""
RARELY = (
    *("twin", "settle an intent", "song problem", "charged again", "over budget"),
    *("found dead: accepted", "found dead: unknown"),
    *(f"paid again: {state}" for state in ("failed", "unknown", "lost", "overdue")),
)
"""What happens in ten thousand, some of it only a few times: clocks and process ids take part in the draw."""
FEW = 3


def _never(machine: type[LedgerMachine], expected: Iterable[str]) -> list[str]:
    """Events that no example reached, so that nothing is proved about them."""
    return [name for name in expected if not machine.seen[name]]


@pytest.mark.timeout(900)
def test_ten_thousand_steps_in_any_order_keep_every_invariant(
    loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    """On SQLite: nothing is paid twice, no paid id is lost, and the counters equal the rows."""

    async def migrate() -> None:
        async with Ledger(ledger_url(None, tmp_path)):
            pass

    loop.run_until_complete(migrate())
    SqliteMachine.loop, SqliteMachine.template = loop, tmp_path / "ledger.sqlite"
    run_state_machine_as_test(SqliteMachine, settings=_settings(300, 50))
    assert SqliteMachine.steps >= 10_000
    assert _never(SqliteMachine, PAYING) == []
    assert len(_never(SqliteMachine, RARELY)) <= FEW, (
        "each has a test of its own; most must meet the others here"
    )


@pytest.mark.postgres
@pytest.mark.timeout(900)
def test_a_thousand_steps_on_postgresql_keep_every_invariant(
    loop: asyncio.AbstractEventLoop, postgres_url: str
) -> None:
    """The same machine on the other database."""
    PostgresMachine.loop, PostgresMachine.url = loop, postgres_url
    run_state_machine_as_test(PostgresMachine, settings=_settings(35, 50))
    assert PostgresMachine.steps >= 1_000
    assert len(_never(PostgresMachine, PAYING)) <= FEW
