"""The process that asked for a POST dies while the gateway works on its answer: no way to die loses the answer.

Judged by the gateway's bill: one charge, no `unknown`, and whole songs with the same key or with `rescue`.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.senders import stop_sender

from songflow.ledger import State

SLOW = {"fault": "slow_answer", "seconds": 0.8}


def _signals(*numbers: signal.Signals) -> Callable[[int], None]:
    def send(pid: int) -> None:
        for number in numbers:
            os.kill(pid, number)
            time.sleep(0.05)

    return send


def _kill_group(pid: int) -> None:
    os.killpg(pid, signal.SIGKILL)


DEATHS: dict[str, Callable[[int], None]] = {
    "kill -9": _signals(signal.SIGKILL),
    "kill -9 of the group": _kill_group,
    "Ctrl-C": _signals(signal.SIGINT),
    "Ctrl-C twice": _signals(signal.SIGINT, signal.SIGINT),
    "Ctrl-C three times": _signals(signal.SIGINT, signal.SIGINT, signal.SIGINT),
    "SIGTERM": _signals(signal.SIGTERM),
    "SIGHUP": _signals(signal.SIGHUP),
    "os._exit": _signals(signal.SIGUSR1),
    "an uncaught error": _signals(signal.SIGUSR1),
    "a fork in between": _signals(signal.SIGUSR1),
}
ROWS = [(death, "main", "sqlite") for death in DEATHS]
ROWS += [(death, "beside", "sqlite") for death in ("kill -9", "Ctrl-C", "SIGTERM", "os._exit")]
ROWS += [("kill -9", "main", "postgres"), ("SIGTERM", "beside", "postgres")]


def _until(true: Callable[[], object]) -> None:
    ends = time.monotonic() + 60
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def _new_interpreters(forks, monkeypatch) -> None:
    """Here each sender is started as it is for users."""
    monkeypatch.setattr(forks, "forks_senders", False)


@pytest.mark.parametrize(
    ("death", "thread", "any_library"),
    [
        pytest.param(*row, marks=pytest.mark.postgres if row[2] == "postgres" else [], id=", ".join(row))
        for row in ROWS
    ],
    indirect=["any_library"],
)
def test_no_death_of_the_asking_process_loses_the_answer(place, desk, forks, death: str, thread: str) -> None:
    """Its sender finishes the POST, and the ledger has the id when the sender ends."""
    desk.play(SLOW)
    seen = desk.posts()
    (pid,) = forks.start([place.plan(death=death, thread=thread == "beside")])
    _until(lambda: desk.billed(place.prompt))
    DEATHS[death](pid)
    (ended,) = forks.wait([pid])
    assert ended.code != 0
    assert place.when_sender_ends() is State.ACCEPTED
    back = forks.run(place.plan())
    assert back.code == 0, back.log
    assert len(back.answer["songs"]) == 2
    assert all(song["path"] for song in back.answer["songs"])
    assert (desk.posts() - seen, desk.billed(place.prompt)) == (1, 1)


def test_rescue_collects_what_a_dead_process_has_paid_for(local_place, desk, forks) -> None:
    """Without the key, by another command."""
    desk.play(SLOW)
    (pid,) = forks.start([local_place.plan()])
    _until(lambda: desk.billed(local_place.prompt))
    os.kill(pid, signal.SIGKILL)
    forks.wait([pid])
    assert local_place.when_sender_ends() is State.ACCEPTED
    rescued = forks.run(local_place.plan("rescue"))
    assert (rescued.code, rescued.answer["rows"][0]["state"]) == (0, "succeeded"), rescued.log


def test_what_has_not_begun_is_not_begun_without_the_process_that_asked(
    local_place, desk, forks, suspended_sender
) -> None:
    """Killed before the first byte left: the sender says so, nothing is billed, and the key may send."""
    seen = desk.posts()
    (pid,) = forks.start([local_place.plan(environment=stop_sender("post: before request"))])
    sender = suspended_sender(local_place)
    os.kill(pid, signal.SIGKILL)
    forks.wait([pid])
    os.kill(sender, signal.SIGCONT)
    assert local_place.when_sender_ends() is State.UNSENT
    assert desk.posts() == seen
    assert forks.run(local_place.plan()).code == 0
    assert desk.posts() - seen == 1


def test_a_sender_that_is_stopped_beyond_its_deadline_is_killed(
    local_place, desk, forks, suspended_sender, monkeypatch
) -> None:
    """Its asker waits for it no longer; whether the request left nobody knows, and nothing is sent again."""
    seen = desk.posts()
    plan = local_place.plan(
        settings={"submit_timeout": 0.5, "retries": 0},
        margin=0.2,
        environment=stop_sender("post: before request"),
    )
    (pid,) = forks.start([plan])
    suspended_sender(local_place)
    (ended,) = forks.wait([pid])
    assert (ended.code, ended.answer["kind"]) == (5, "OutcomeUnknown"), ended
    assert forks.run(local_place.plan()).code == 5
    assert desk.posts() == seen


def _starve(pid: int, mebibytes: int) -> None:
    """Leave a process this much of new memory."""
    used = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.prlimit(pid, resource.RLIMIT_AS, (used + (mebibytes << 20),) * 2)


@pytest.mark.parametrize("mebibytes", [0, 1])
@pytest.mark.parametrize("moment", ["before the request", "before the answer"])
def test_a_sender_without_memory_sends_at_most_once(
    local_place, desk, forks, suspended_sender, moment: str, mebibytes: int
) -> None:
    """Wherever its memory runs out: not billed, or paid and stored, or reported as unknown; never paid twice."""
    seen = desk.posts()
    if moment == "before the request":
        (pid,) = forks.start([local_place.plan(environment=stop_sender("post: before request"))])
        sender = suspended_sender(local_place)
        _starve(sender, mebibytes)
        os.kill(sender, signal.SIGCONT)
    else:
        desk.play(SLOW)
        (pid,) = forks.start([local_place.plan()])
        _until(lambda: desk.billed(local_place.prompt))
        _starve(local_place.look().submissions[-1].lease.owner.pid, mebibytes)
    (ended,) = forks.wait([pid])
    billed = desk.billed(local_place.prompt)
    assert (ended.code, billed) in {(0, 1), (3, 0), (5, 0), (5, 1)}, ended
    again = forks.run(local_place.plan())
    if ended.code == 5:
        assert again.answer["kind"] == "OutcomeUnknown", again
        assert desk.posts() - seen == billed
    else:
        assert (again.code, desk.posts() - seen) == (0, 1), again


def test_the_key_stands_in_no_argument_environment_or_open_file_of_the_sender(
    local_place, desk, forks, suspended_sender
) -> None:
    """It comes over the socket only; the sender's memory cannot be dumped."""
    key = "sk-0123456789abcdef-secret"
    plan = local_place.plan(
        secret=key, environment={**stop_sender("post: before request"), "SONGFLOW_API_KEY": key}
    )
    (pid,) = forks.start([plan])
    sender = suspended_sender(local_place)
    try:
        of_sender = Path(f"/proc/{sender}")
        for name in ("cmdline", "environ"):
            assert key.encode() not in (of_sender / name).read_bytes()
        limits = (of_sender / "limits").read_text().splitlines()
        (core,) = [line.split()[4:6] for line in limits if line.startswith("Max core file size")]
        assert core == ["0", "0"]
        assert os.getsid(sender) == sender != os.getsid(pid)
        files = [file for file in local_place.library.folder.rglob("*") if file.is_file()]
        assert not any(key.encode() in file.read_bytes() for file in files)
    finally:
        os.kill(sender, signal.SIGCONT)
        forks.wait([pid])
