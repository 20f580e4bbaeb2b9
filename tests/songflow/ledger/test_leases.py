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


def test_our_own_lease_lives_until_its_end() -> None:
    """A lease of the running process is alive, and dead at the very moment it ends."""
    mine = Lease.take(60.0)
    assert not mine.is_dead()
    assert not mine.is_dead(mine.expires_at - timedelta(microseconds=1))
    assert mine.is_dead(mine.expires_at)


def test_each_lease_has_a_fence_of_its_own_and_keeps_it_when_extended() -> None:
    """A longer lease is the same claim; another lease is another."""
    mine = Lease.take(60.0)
    longer = mine.extended(120.0)
    assert (longer.fence, longer.owner) == (mine.fence, mine.owner)
    assert longer.expires_at > mine.expires_at
    assert Lease.take(60.0).fence != mine.fence


def test_a_lease_that_has_ended_is_dead_though_its_process_lives() -> None:
    """Its process may have been suspended: time alone decides."""
    assert Lease.take(0.0).is_dead()


def test_a_live_process_of_this_host_holds_its_lease(child) -> None:
    """Another process's lease is alive as long as it is."""
    owner = _identity_of(child.pid)
    assert not _lease_of(owner).is_dead()
    child.kill()
    child.wait()
    assert _lease_of(owner).is_dead()


def test_a_process_that_is_stopped_is_not_gone(child) -> None:
    """SIGSTOP is no death: it may wake and act, so only the lease's end counts."""
    os.kill(child.pid, signal.SIGSTOP)
    assert not _lease_of(_identity_of(child.pid)).is_dead()
    os.kill(child.pid, signal.SIGCONT)


def test_a_zombie_is_gone(child) -> None:
    """A killed process whose parent has not looked yet does nothing any more."""
    owner = _identity_of(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{child.pid}").exists()
    assert owner.is_gone()


def test_a_process_id_that_is_used_again_is_another_process(child) -> None:
    """The same id with another start time is not the one that took the lease."""
    assert replace(_identity_of(child.pid), start="1").is_gone()


@pytest.mark.parametrize("field", ["host", "boot"])
def test_of_another_host_or_boot_only_the_leases_end_tells(field: str) -> None:
    """What cannot be seen from here is not called gone."""
    owner = replace(this_process(), pid=2**22 + 1, start="1", **{field: "another"})
    assert not owner.is_gone()
    assert not _lease_of(owner).is_dead()
    assert _lease_of(owner, -1.0).is_dead()


def test_without_a_start_time_nothing_is_certain() -> None:
    """A system without /proc recorded none: a process id alone says nothing."""
    assert not replace(this_process(), pid=2**22 + 1, start="").is_gone()


def test_a_process_that_proc_hides_is_not_gone(child, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where other users' processes are hidden from /proc, being there at all is enough."""
    owner = _identity_of(child.pid)
    monkeypatch.setattr(lease, "_start_time", lambda pid: None)
    assert not owner.is_gone()
    child.kill()
    child.wait()
    assert owner.is_gone()


def test_a_process_that_we_may_not_signal_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not being allowed to ask is an answer."""

    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    monkeypatch.setattr(lease, "_start_time", lambda pid: None)
    assert not replace(this_process(), pid=1, start="1").is_gone()


def test_a_process_whose_name_is_no_text_can_be_asked_for(tmp_path: Path) -> None:
    """The kernel cuts names after 15 bytes, in the middle of a character too, and they may hold ')'."""
    renames = "open('/proc/self/comm', 'wb').write(b') Z 1 \\xff\\xc3'); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", renames], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        owner = _identity_of(process.pid)
        assert owner.start.isdigit()
        assert not owner.is_gone()
        process.communicate(b"\n")


def test_without_proc_each_process_is_its_own_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system does not tell its boot, a random one never equals another's."""
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
    """Identity is asked for again after a fork, not remembered from the parent."""
    parent = this_process()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, f"{this_process().pid} {this_process().start}".encode())
        os._exit(0)
    os.waitpid(pid, 0)
    told = os.read(reader, 100).decode().split()
    os.close(reader)
    os.close(writer)
    assert int(told[0]) == pid != parent.pid
    assert told[1] >= parent.start


async def test_a_flow_run_that_crashed_looks_after_nothing_any_more(ledger: Ledger, in_state) -> None:
    """Its leases end at once, except that of a POST under way; those of other runs stand."""
    mine = RunIds("crashed", "root", None)
    waiting = await in_state(State.RUNNING, "waiting", runs=mine)
    sending = await in_state(State.SENDING, "sending", runs=mine)
    other = await in_state(State.RUNNING, "other", runs=RunIds("alive"))
    assert await ledger.submissions.release_run("crashed") == 1
    assert await ledger.submissions.release_run("crashed") == 0
    found = {one.key: one.lease.is_dead() for one in await ledger.submissions.of_flow_run("crashed")}
    assert found == {waiting.key: True, sending.key: False}
    assert await ledger.submissions.of_flow_run("alive") == [other]
