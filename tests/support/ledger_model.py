"""A model of processes, a gateway and money beside a ledger, and the promises that hold after every step.

`ledger_steps.py` has the steps. Each is one call of the real ledger; afterwards the tables are read past the ledger
and compared with the model.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant

from songflow.families.udio import UDIO, SongRequest
from songflow.gateways import DIALECTS
from songflow.generation.submit import settle_dead_sender
from songflow.ledger import RULES, Intent, Ledger, SongState, State
from songflow.ledger.lease import Lease, ProcessIdentity, _boot, _start_time
from songflow.ledger.rows import Caps
from songflow.ledger.songs import AnnouncedTake
from songflow.ledger.spool import Spool

KEYS = ("a", "b", "c")
BODIES = {prompt: SongRequest(prompt=prompt) for prompt in ("a slow waltz", "a fast polka")}
DAYS = ("2026-01-01", "2026-01-02")
ROUNDING = 1e-6
ANSWER = {"status": 200, "headers": {}, "body": "{}"}
OPEN_ENDS = {State.UNKNOWN, State.LOST, State.OVERDUE}
RESERVED = {State.INTENDED, State.SENDING, State.UNKNOWN}
FREE = {State.UNSENT, State.REFUSED}
WAITED_FOR = {State.ACCEPTED, State.RUNNING, State.OVERDUE, State.LOST}


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


class LedgerModel(RuleBasedStateMachine):
    """What a ledger must contain, given what processes, a gateway and a person did."""

    loop: ClassVar[asyncio.AbstractEventLoop]
    steps: ClassVar[int]
    seen: ClassVar[Counter[str]]

    # --- one example --------------------------------------------------------------------------------------

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=memory_folder()))
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
        """The rows of a table, read without the ledger, in the order of its first column.

        Steps pick rows by number, and PostgreSQL returns updated rows in an order of its own.
        """
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
                end_process(process)
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

    def session(self) -> Any:
        """The parts of a session that settling a sender uses."""
        return SimpleNamespace(
            library=SimpleNamespace(ledger=self.ledger, spool=self.spool),
            events=SimpleNamespace(emit=lambda notice: None),
        )

    def of_state(self, states: set[State]) -> list[str]:
        return [known for known, row in self.rows.items() if State(row["state"]) in states]

    def at(self, stage: str) -> list[Work]:
        return [work for work in self.works if work.stage == stage]

    def is_dead(self, submission_id: str) -> bool:
        return self.run(self.ledger.submissions.get(submission_id)).lease.is_dead()

    def is_open(self, row: dict[str, Any]) -> bool:
        """True if its outcome is not known, or songs of it are not collected."""
        announced = {song["submission_id"] for song in self.fetch("songs") if song["state"] == "announced"}
        state = State(row["state"])
        return state in OPEN_ENDS or (state is State.SUCCEEDED and row["id"] in announced)

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
            for scope in scopes_of(row["budget_day"], row["budget_run"]):
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
        for submission in self.run(self.ledger.submissions.in_states([State.SENDING, State.UNKNOWN])):
            if submission.state is State.SENDING or submission.id in self.spooled:
                assert submission.state is State.UNKNOWN or submission.lease.is_dead()
                self.run(settle_dead_sender(self.session(), submission))
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


def memory_folder() -> str | None:
    """A folder in memory, if there is one, where a sync is fast."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def start_process(here: bool) -> Process:
    """A process on this host (a real child), or on another host, which only its leases show."""
    if not here:
        return Process(ProcessIdentity(f"host-{uuid.uuid4().hex[:8]}", "boot", 1, "1"), None)
    child = subprocess.Popen(["sleep", "3600"])
    start = _start_time(child.pid)
    assert start
    return Process(ProcessIdentity(socket.gethostname(), _boot(), child.pid, start), child)


def end_process(process: Process) -> None:
    if process.child is not None:
        process.child.kill()
        process.child.wait()


def scopes_of(day: str, run: str | None) -> list[str]:
    return ["library", f"day:{day}", *([f"run:{run}"] if run else [])]


def intent_of(key: str, prompt: str, price: float, day: str, run: str | None, caps: Caps) -> Intent:
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


def take_of(submission_id: str, name: str, *, broken: bool) -> AnnouncedTake:
    url = None if broken else "https://files.example/song.mp3"
    return AnnouncedTake(
        f"{submission_id}-{name}", "T", (), None, 2.0, url, None, "moderated" if broken else None, "{}"
    )
