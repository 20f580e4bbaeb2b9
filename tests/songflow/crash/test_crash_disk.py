"""A disk that fills up in the middle (a real one, mounted for the test), and a ledger that others hold locked."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from support.senders import fill, stop_sender

from songflow.ledger import State
from songflow.settings import LibrarySettings

MEBIBYTES = 80  # more than must be free before a POST


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 80 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={MEBIBYTES}m", "songflow-test", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"there is no mount command ({error})")
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here ({done.stderr.strip()})")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_fills_up_during_the_download_costs_nothing_more(
    tmp_path, small_disk, make_place, forks
) -> None:
    """The songs are reported as paid and not collected; with space again, the same key brings them."""
    place = make_place(LibrarySettings(tmp_path / "library", audio_url=str(small_disk / "audio")))
    full = forks.run(place.plan(fill_at="succeeded: after commit", disk=small_disk))
    assert (full.code, full.answer["kind"]) == (5, "NotCollected"), full.log
    assert "No space left" in full.answer["error"]
    assert [song.path for song in place.look().songs] == [None, None]
    assert list((small_disk / "audio").glob("*.mp3")) == []
    (small_disk / "filler").unlink()
    back = forks.run(place.plan())
    assert back.code == 0, back.log
    assert all(Path(song["path"]).stat().st_size > 0 for song in back.answer["songs"])
    assert place.desk.billed(place.prompt) == 1


def test_a_full_disk_before_the_post_sends_nothing(small_disk, make_place, forks) -> None:
    """A song that would find no room is not paid for."""
    place = make_place(LibrarySettings(small_disk / "library"))
    (small_disk / "ballast").write_bytes(bytes((MEBIBYTES - 60) << 20))
    seen = place.desk.posts()
    full = forks.run(place.plan())
    assert (full.code, full.answer["kind"]) == (2, "LibraryError")
    assert place.desk.posts() == seen


def test_a_disk_that_fills_up_after_the_spool_line_loses_no_id(small_disk, make_place, forks) -> None:
    """The ledger cannot take the accepted id, the spool has it: later it is collected, and nothing is sent."""
    place = make_place(LibrarySettings(small_disk / "library"))
    full = forks.run(place.plan(fill_at="sender: after handover", disk=small_disk, patience=0.3))
    assert (full.code, full.answer["kind"]) == (5, "NotCollected"), full.log
    assert full.answer["generation_id"] in full.log
    assert "PAID, and the ledger cannot be written" in full.log
    (small_disk / "filler").unlink()
    assert place.when_sender_ends() in {State.SENDING, State.ACCEPTED}
    back = forks.run(place.plan())
    assert back.code == 0, back.log
    assert back.answer["generation_id"] == full.answer["generation_id"]
    assert place.desk.billed(place.prompt) == 1


def test_a_disk_that_is_full_when_the_answer_arrives_loses_no_id(
    small_disk, make_place, forks, suspended_sender
) -> None:
    """The spool's room was reserved before the POST; the id is on stderr as well, with what to do."""
    place = make_place(LibrarySettings(small_disk / "library"))
    seen = place.desk.posts()
    (payer,) = forks.start([place.plan(patience=0.3, environment=stop_sender("post: after request"))])
    sender = suspended_sender(place)
    fill(small_disk)
    os.kill(sender, signal.SIGCONT)
    (full,) = forks.wait([payer])
    assert (full.code, full.answer["kind"]) == (5, "NotCollected"), full.log
    (known,) = re.findall(r"PAID, and the ledger cannot be written: generation (\S+)", full.log)
    assert f"songflow rescue --adopt {known}" in full.log
    (small_disk / "filler").unlink()
    back = forks.run(place.plan())
    assert (back.code, back.answer["generation_id"]) == (0, known), back.log
    assert all(song["path"] for song in back.answer["songs"])
    assert (place.desk.posts() - seen, place.desk.billed(place.prompt)) == (1, 1)


def test_an_id_that_not_even_the_spool_took_is_adopted_by_a_person(
    small_disk, make_place, forks, suspended_sender
) -> None:
    """The sender is killed, and somebody has deleted the spool with its reserve: the key is unknown until then."""
    place = make_place(LibrarySettings(small_disk / "library"))
    (payer,) = forks.start([place.plan(patience=0.3, environment=stop_sender("post: after request"))])
    sender = suspended_sender(place)
    fill(small_disk)
    os.kill(sender, signal.SIGCONT)
    (full,) = forks.wait([payer])
    (known,) = re.findall(r"songflow rescue --adopt (\S+)", full.log)
    with suppress(ProcessLookupError):
        os.kill(sender, signal.SIGKILL)
    (small_disk / "filler").unlink()
    for file in (small_disk / "library" / "spool").iterdir():
        file.unlink()
    back = forks.run(place.plan())
    assert (back.code, back.answer["state"]) == (5, "unknown"), back.log
    adopted = forks.run(place.plan("adopt", id=known))
    assert (adopted.code, adopted.answer["generation_id"]) == (0, known), adopted.log
    assert place.desk.billed(place.prompt) == 1


def _locked(place) -> closing[sqlite3.Connection]:
    """Another process's transaction that does not end (this process is another one)."""
    connection = sqlite3.connect(place.library.folder / "ledger.sqlite", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return closing(connection)


def test_a_ledger_that_is_locked_before_the_post_sends_nothing(local_place, desk, forks) -> None:
    """Without a committed intent there is no POST."""
    assert forks.run(local_place.plan("resume")).code == 0  # makes the library
    seen = desk.posts()
    with _locked(local_place):
        stopped = forks.run(local_place.plan(busy=1))
    assert (stopped.code, stopped.answer["kind"]) == (2, "LibraryError"), stopped.log
    assert "another process has held its lock" in stopped.answer["error"]
    assert desk.posts() == seen


def test_a_ledger_that_stays_locked_after_the_post_loses_no_id(local_place, desk, forks, suspended) -> None:
    """The spool has the id; once the lock is gone, the same key collects what was paid for."""
    (payer,) = forks.start([local_place.plan(stop_at="sender: after handover", busy=1, patience=0.3)])
    suspended(payer)
    with _locked(local_place):
        os.kill(payer, signal.SIGCONT)
        (ended,) = forks.wait([payer])
    assert (ended.code, ended.answer["kind"]) == (5, "NotCollected"), ended.log
    assert "PAID, and the ledger cannot be written" in ended.log
    back = forks.run(local_place.plan())
    assert back.code == 0, back.log
    assert back.answer["generation_id"] == ended.answer["generation_id"]
    assert desk.billed(local_place.prompt) == 1


def test_a_lock_that_ends_in_time_only_delays(local_place, desk, forks, suspended) -> None:
    """A commit after the POST is retried."""
    (payer,) = forks.start([local_place.plan(stop_at="sender: after handover", busy=1)])
    suspended(payer)
    with _locked(local_place):
        os.kill(payer, signal.SIGCONT)
        while "Trying again" not in forks.log(payer):  # its first try ends in vain
            time.sleep(0.02)
    (ended,) = forks.wait([payer])
    assert ended.code == 0, ended.log
    assert desk.billed(local_place.prompt) == 1


def test_a_lock_while_the_pace_recovers_is_not_reported_as_nothing_sent(
    local_place, desk, forks, suspended
) -> None:
    """Accepted after a slow-down: trouble with the ledger from there on means paid, not "nothing was sent"."""
    desk.play({"fault": "status", "on": "submit", "status": 429, "envelope": "openai"})
    assert forks.run(local_place.plan()).code == 3
    (payer,) = forks.start([local_place.plan(stop_at="accepted: after commit", busy=1)])
    suspended(payer)
    with _locked(local_place):
        os.kill(payer, signal.SIGCONT)
        (ended,) = forks.wait([payer])
    assert (ended.code, ended.answer["kind"]) == (5, "NotCollected"), ended
    assert forks.run(local_place.plan()).code == 0
    assert desk.billed(local_place.prompt) == 1


def test_a_remote_store_that_is_full_costs_nothing_more(tmp_path, small_disk, make_place, forks) -> None:
    """A store that is full when it is uploaded to: paid, not collected, collected later."""
    place = make_place(LibrarySettings(tmp_path / "library"))
    place = replace(place, library=replace(place.library, audio_url=f"local://{small_disk}/bucket"))
    full = forks.run(place.plan(fill_at="succeeded: after commit", disk=small_disk))
    assert (full.code, full.answer["kind"]) == (5, "NotCollected"), full.log
    (small_disk / "filler").unlink()
    back = forks.run(place.plan())
    assert back.code == 0, back.log
    assert place.desk.billed(place.prompt) == 1
