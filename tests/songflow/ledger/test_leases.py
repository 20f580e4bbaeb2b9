"""Leases: whether the process that took one is certainly gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from songflow.ledger import Ledger, RunIds, State, lease
from songflow.ledger.engine import ledger_url
from songflow.ledger.lease import Lease, ProcessIdentity, this_process


@pytest.fixture
def child():
    """Another process of this host that does nothing."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def _identity_of(pid: int) -> ProcessIdentity:
    return replace(this_process(), pid=pid, start=lease._start_time(pid))


def _lease_of(owner: ProcessIdentity, seconds: float = 60.0) -> Lease:
    return Lease(owner, "fence", datetime.now(UTC) + timedelta(seconds=seconds))


def test_a_lease_of_this_process_lives_until_it_expires() -> None:
    """It is dead at the very moment it expires."""
    mine = Lease.take(60.0)
    assert not mine.is_dead()
    assert not mine.is_dead(mine.expires_at - timedelta(microseconds=1))
    assert mine.is_dead(mine.expires_at)


def test_each_lease_has_its_own_fence_and_keeps_it_when_extended() -> None:
    """An extended lease is the same claim; another lease is another."""
    mine = Lease.take(60.0)
    longer = mine.extended(120.0)
    assert (longer.fence, longer.owner) == (mine.fence, mine.owner)
    assert longer.expires_at > mine.expires_at
    assert Lease.take(60.0).fence != mine.fence


def test_an_expired_lease_is_dead_even_if_its_process_lives() -> None:
    """Its process may have been suspended."""
    assert Lease.take(0.0).is_dead()


def test_the_lease_of_a_live_process_of_this_host_is_alive(child) -> None:
    """As long as the process is."""
    owner = _identity_of(child.pid)
    assert not _lease_of(owner).is_dead()
    child.kill()
    child.wait()
    assert _lease_of(owner).is_dead()


def test_a_process_that_is_stopped_is_not_gone(child) -> None:
    """After SIGSTOP it may resume, so only the lease's expiry counts."""
    os.kill(child.pid, signal.SIGSTOP)
    assert not _lease_of(_identity_of(child.pid)).is_dead()
    os.kill(child.pid, signal.SIGCONT)


def test_a_zombie_is_gone(child) -> None:
    """A killed process that its parent has not reaped."""
    owner = _identity_of(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{child.pid}").exists()
    assert owner.is_gone()


def test_a_reused_process_id_is_another_process(child) -> None:
    """Its start time differs."""
    assert replace(_identity_of(child.pid), start="1").is_gone()


@pytest.mark.parametrize("field", ["host", "boot"])
def test_for_another_host_or_boot_only_expiry_counts(field: str) -> None:
    """Its processes cannot be seen from here."""
    owner = replace(this_process(), pid=2**22 + 1, start="1", **{field: "another"})
    assert not owner.is_gone()
    assert not _lease_of(owner).is_dead()
    assert _lease_of(owner, -1.0).is_dead()


def test_without_a_start_time_nothing_is_certain() -> None:
    """A system without /proc recorded none: a process id alone is not enough."""
    assert not replace(this_process(), pid=2**22 + 1, start="").is_gone()


def test_a_process_that_proc_hides_is_not_gone(child, monkeypatch: pytest.MonkeyPatch) -> None:
    """If /proc hides other users' processes, existing is enough."""
    owner = _identity_of(child.pid)
    monkeypatch.setattr(lease, "_start_time", lambda pid: None)
    assert not owner.is_gone()
    child.kill()
    child.wait()
    assert owner.is_gone()


def test_a_process_that_may_not_be_signalled_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal shows that it exists."""

    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    monkeypatch.setattr(lease, "_start_time", lambda pid: None)
    assert not replace(this_process(), pid=1, start="1").is_gone()


def test_a_process_name_may_contain_any_byte(tmp_path: Path) -> None:
    """The kernel truncates names to 15 bytes, even inside a character, and they may contain ')'."""
    renames = "open('/proc/self/comm', 'wb').write(b') Z 1 \\xff\\xc3'); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", renames], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        owner = _identity_of(process.pid)
        assert owner.start.isdigit()
        assert not owner.is_gone()
        process.communicate(b"\n")


def test_without_proc_each_process_has_a_boot_id_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random one never equals another's."""
    monkeypatch.setattr(lease, "Path", lambda path: Path("/missing") / path.lstrip("/"))
    lease._boot.cache_clear()
    lease._own_start_time.cache_clear()
    try:
        here = this_process()
        assert here.start == ""
        assert len(here.boot) == 32
        assert this_process() == here
    finally:
        lease._boot.cache_clear()
        lease._own_start_time.cache_clear()


def test_a_forked_child_is_another_process() -> None:
    """Its identity is read anew after the fork."""
    parent = this_process()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, f"{this_process().pid} {this_process().start}".encode())
        os._exit(0)
    os.waitpid(pid, 0)
    answer = os.read(reader, 100).decode().split()
    os.close(reader)
    os.close(writer)
    assert int(answer[0]) == pid != parent.pid
    assert int(answer[1]) >= int(parent.start)


async def test_the_leases_of_a_crashed_flow_run_end(ledger: Ledger, in_state) -> None:
    """At once, except that of a POST in flight; those of other runs stay."""
    mine = RunIds("crashed", "root", None)
    waiting = await in_state(State.RUNNING, "waiting", runs=mine)
    sending = await in_state(State.SENDING, "sending", runs=mine)
    other = await in_state(State.RUNNING, "other", runs=RunIds("alive"))
    assert await ledger.submissions.release_run("crashed") == 1
    assert await ledger.submissions.release_run("crashed") == 0
    found = {one.key: one.lease.is_dead() for one in await ledger.submissions.of_flow_run("crashed")}
    assert found == {waiting.key: True, sending.key: False}
    assert await ledger.submissions.of_flow_run("alive") == [other]


@pytest.mark.postgres
@pytest.mark.parametrize("ahead", [timedelta(days=1), timedelta(days=-1)])
async def test_machines_whose_clocks_differ_agree_on_the_end_of_a_lease_in_postgresql(
    postgres_url: str, tmp_path: Path, intent, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
) -> None:
    """A lease of a minute lasts a minute, whatever the clock of the machine that took it says."""

    class OtherClock(datetime):
        @classmethod
        def now(cls, zone=None):
            return datetime.now(zone) + ahead

    async with Ledger(ledger_url(postgres_url, tmp_path)) as ledger:
        with monkeypatch.context() as there:
            there.setattr("songflow.ledger.schema.datetime", OtherClock)
            there.setattr("songflow.ledger.lease.datetime", OtherClock)
            claim = await ledger.submissions.intend(intent(), Lease.take(60.0))
            assert claim.submission.lease.lasts(50.0)
        here = (await ledger.submissions.get(claim.submission.id)).lease
        assert here.lasts(30.0)
        assert not here.lasts(61.0)
