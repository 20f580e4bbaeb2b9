"""The spool: accepted ids are on the local disk before the ledger."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from songflow.ledger import spool as spool_module
from songflow.ledger.spool import Spool, SpooledIntent, SpoolEntry


def _entry(submission_id: str = "s1", **changes: object) -> SpoolEntry:
    fields = {
        "submission_id": submission_id,
        "key": "key",
        "gateway": "openai-hk",
        "base_url": "https://gateway.example",
        "account": "env:OPENAI_HK_KEY",
        "generation_id": "id-1",
        "track_ids": ("t1", "t2"),
        "accepted_at": "2026-01-01T00:00:00+00:00",
        **changes,
    }
    return SpoolEntry(**fields)  # type: ignore[arg-type]


INTENT = SpooledIntent(
    body='{"gen_params": {"prompt": "é"}}',
    body_hash="hash",
    hash_version=1,
    model_type="udio-130",
    mode="regular",
    dialect="{}",
    key_fingerprint="fingerprint",
    price=1.5,
    ordinal=2,
    budget_day="2026-01-01",
    budget_run=None,
    flow_run_id="run",
    root_flow_run_id=None,
    task_run_id=None,
    intended_at="2026-01-01T00:00:00+00:00",
)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path)


def _file(folder: Path) -> Path:
    (file,) = folder.glob("accepted.*.jsonl")
    return file


def test_appended_entries_are_read_back(spool: Spool) -> None:
    """In order, and by submission."""
    entries = [_entry("s1"), _entry("s2", generation_id=None), _entry("s3", track_ids=())]
    for entry in entries:
        spool.append(entry)
    assert spool.entries() == entries
    assert spool.find("s2") == entries[1]
    assert spool.find("s9") is None


def test_the_last_entry_of_a_submission_counts(spool: Spool) -> None:
    """Entries are appended, never changed."""
    spool.append(_entry(generation_id="first"))
    spool.append(_entry(generation_id="second"))
    assert spool.find("s1").generation_id == "second"


def test_an_accepted_entry_outweighs_every_other_outcome(spool: Spool) -> None:
    """Whatever was written before or after it: it is paid for."""
    spool.append(_entry(generation_id=None, outcome="unknown", reason="the answer was cut"))
    assert spool.find("s1").outcome == "unknown"
    spool.append(_entry(generation_id="id-1"))
    spool.append(_entry(generation_id=None, outcome="refused"))
    assert spool.find("s1").generation_id == "id-1"


@pytest.mark.parametrize("outcome", ["accepted", "refused", "not_sent", "unknown"])
def test_outcome_answer_fence_and_intent_are_read_back(spool: Spool, outcome: str) -> None:
    """Everything that is needed to settle the submission, and to restore its rows."""
    answer = {"status": 200, "headers": {"date": "today"}, "body": "{}"}
    entry = _entry(outcome=outcome, reason="why", answer=answer, fence="fence", intent=INTENT)
    spool.append(entry)
    assert spool.find("s1") == entry
    assert entry.is_accepted is (outcome == "accepted")


def test_lines_of_an_earlier_version_are_accepted_entries(spool: Spool, tmp_path: Path) -> None:
    """Their missing fields have defaults."""
    line = json.dumps(
        {"submission_id": "s1", "key": "key", "gateway": "openai-hk", "base_url": "https://gateway.example",
         "account": "env:OPENAI_HK_KEY", "generation_id": "id-1", "track_ids": ["t1", "t2"],
         "accepted_at": "2026-01-01T00:00:00+00:00"}
    )  # fmt: skip
    spool._file.write_text(f"\n{line}\n")
    assert spool.entries() == [_entry()]


def test_fields_of_a_later_version_are_left_out(spool: Spool, tmp_path: Path) -> None:
    """An older Songflow on the same folder still finds the accepted id."""
    spool.append(_entry(intent=INTENT))
    line = json.loads(_file(tmp_path).read_text())
    _file(tmp_path).write_text(json.dumps({**line, "new": 1, "intent": {**line["intent"], "new": 2}}))
    assert spool.entries() == [_entry(intent=INTENT)]


@pytest.mark.parametrize("intent", [None, 7, [], {}, {"body": "{}"}])
def test_an_unreadable_intent_does_not_hide_the_accepted_id(
    spool: Spool, tmp_path: Path, intent: object
) -> None:
    """The id is what was paid for."""
    spool.append(_entry(intent=INTENT))
    line = json.loads(_file(tmp_path).read_text())
    _file(tmp_path).write_text(json.dumps({**line, "intent": intent}))
    assert spool.entries() == [_entry()]


def test_an_outcome_that_this_version_does_not_know_is_no_entry(spool: Spool, tmp_path: Path) -> None:
    """It must not be taken for an acceptance."""
    spool.append(_entry(outcome="postponed"))
    assert spool.entries() == []


@pytest.mark.parametrize("odd", ["\ud800", "a\nb\r\x85\u2028c", "ü\x00漢", '"}{"'])
def test_any_id_survives(spool: Spool, odd: str) -> None:
    """Ids are opaque: anything that JSON can represent is kept exactly."""
    spool.append(_entry(generation_id=odd))
    assert spool.find("s1").generation_id == odd


def test_an_empty_spool_has_no_entries(spool: Spool) -> None:
    """Nothing was accepted."""
    assert spool.entries() == []


def test_a_truncated_line_does_not_damage_the_next(spool: Spool, tmp_path: Path) -> None:
    """Wherever the first entry was truncated."""
    spool.append(_entry("s1"))
    whole = _file(tmp_path).read_bytes()
    for cut in range(1, len(whole) - 1):
        _file(tmp_path).write_bytes(whole[:cut])
        spool.append(_entry("s2"))
        assert spool.find("s2") == _entry("s2")
        assert spool.find("s1") in (None, _entry("s1"))


@pytest.mark.parametrize(
    "line", [b"\xff\xfe", b"null", b"[]", b"7", b"{}", b'{"track_ids": []}', b'{"track_ids": 5}', b"not json"]
)
def test_lines_that_are_not_entries_are_skipped(spool: Spool, tmp_path: Path, line: bytes) -> None:
    """The entries between them are read."""
    spool.append(_entry("s1"))
    with _file(tmp_path).open("ab") as file:
        file.write(line + b"\n")
    spool.append(_entry("s2"))
    assert [entry.submission_id for entry in spool.entries()] == ["s1", "s2"]


def test_entries_of_every_host_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared folder has one file per host, so that no two machines append to one."""
    for host in ("one", "two"):
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        Spool(tmp_path).append(_entry(host))
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["accepted.one.jsonl", "accepted.two.jsonl"]
    assert {entry.submission_id for entry in Spool(tmp_path).entries()} == {"one", "two"}


def test_an_entry_and_a_new_files_name_are_synced_before_append_returns(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The complete entry is synced, and the folder once, for the new file."""
    synced: list[str] = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        target = Path(f"/proc/self/fd/{descriptor}").readlink()
        if target == _file(tmp_path):
            assert target.read_bytes().endswith(b"}\n")
        synced.append(target.name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    spool.append(_entry("s1"))
    spool.append(_entry("s2"))
    name = _file(tmp_path).name
    assert synced == [name, tmp_path.name, name]


def test_the_spool_is_readable_by_its_owner_only(spool: Spool, tmp_path: Path) -> None:
    """Other users need not know what was paid for."""
    spool.append(_entry())
    assert _file(tmp_path).stat().st_mode & 0o777 == 0o600


def test_a_short_write_is_an_error(spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next entry is complete all the same."""
    write = os.write
    monkeypatch.setattr(spool_module.os, "write", lambda descriptor, line: write(descriptor, line[:20]))
    with pytest.raises(OSError, match="No space") as caught:
        spool.append(_entry("s1"))
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    spool.append(_entry("s2"))
    assert [entry.submission_id for entry in spool.entries()] == ["s2"]


def test_a_full_device_is_an_error(tmp_path: Path) -> None:
    """/dev/full refuses every byte."""
    spool = Spool(tmp_path)
    spool._file.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space"):
        spool.append(_entry())


@pytest.fixture
def small_disk(tmp_path: Path):
    """A real file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a file system is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_takes_the_outcomes_of_requests_under_way(small_disk: Path, monkeypatch) -> None:
    """Its room was secured before; there the entries lack the raw answer, and in the end the intent, too."""
    monkeypatch.setattr(spool_module, "_RESERVE_BYTES", 8192)
    spool = Spool(small_disk)
    spool.secure_room()
    assert spool.entries() == spool.newest() == []
    with (small_disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while filler.write(b"x" * 512):
            pass
    answer = {"status": 200, "headers": {}, "body": "x" * 5000}
    taken = 0

    def use_it_up() -> None:
        nonlocal taken
        while True:
            spool.append(_entry(f"s{taken}", intent=INTENT, answer=answer))
            taken += 1

    with pytest.raises(OSError, match="No space"):
        use_it_up()
    found = spool.entries()
    assert [entry.submission_id for entry in found] == [f"s{number}" for number in range(taken)]
    assert found[:2] == [_entry("s0", intent=INTENT), _entry("s1", intent=INTENT)]
    assert found[-1] == _entry(f"s{taken - 1}")
    assert spool.newest() == found
    (small_disk / "filler").unlink()
    spool.secure_room()
    spool.append(_entry("later"))
    assert {entry.submission_id for entry in spool.entries()} == {
        *(entry.submission_id for entry in found),
        "later",
    }


def test_room_is_secured_once(spool: Spool, tmp_path: Path) -> None:
    """The reserve is made anew only after it was used; nothing else is left."""
    for _ in range(2):
        spool.secure_room()
        (reserve,) = tmp_path.iterdir()
    made = reserve.stat()
    assert (made.st_size, made.st_mode & 0o777) == (1 << 20, 0o600)
    spool.secure_room()
    assert reserve.stat().st_ino == made.st_ino


def test_without_room_nothing_may_be_sent(small_disk: Path) -> None:
    """The reserve does not fit on this disk."""
    with pytest.raises(OSError, match="No space"):
        Spool(small_disk).secure_room()
    assert [file.stat().st_size for file in small_disk.iterdir()] == [0]


def test_the_newest_entries_are_read_without_the_rest(spool: Spool, monkeypatch) -> None:
    """However long the file is."""
    monkeypatch.setattr(spool_module, "_NEWEST_BYTES", 2000)
    for number in range(50):
        spool.append(_entry(f"s{number}"))
    newest = [entry.submission_id for entry in spool.newest()]
    assert 2 < len(newest) < 10
    assert newest == [f"s{number}" for number in range(50)][-len(newest) :]


def test_entries_that_cost_nothing_do_not_hide_a_paid_one_before_them(spool: Spool, monkeypatch) -> None:
    """A ledger that is older than the spool is noticed by the newest entries, and refuses to pay."""
    monkeypatch.setattr(spool_module, "_NEWEST_BYTES", 2000)
    for number in range(300):
        spool.append(_entry(f"paid{number}"))
    for number in range(60):
        spool.append(_entry(f"refused{number}", outcome="refused", generation_id=None, track_ids=()))
    newest = [entry.submission_id for entry in spool.newest()]
    assert "paid299" in newest
    assert "paid0" not in newest


def test_a_full_disk_is_an_error_and_loses_no_earlier_entry(small_disk: Path) -> None:
    """When there is space again, entries are appended again."""
    spool = Spool(small_disk)
    taken = 0

    def fill() -> None:
        nonlocal taken
        while True:
            spool.append(_entry(f"s{taken}"))
            taken += 1

    with pytest.raises(OSError, match="No space"):
        fill()
    assert taken > 100
    assert [entry.submission_id for entry in spool.entries()] == [f"s{number}" for number in range(taken)]
    subprocess.run(["mount", "-o", "remount,size=128k", str(small_disk)], check=True)
    spool.append(_entry("last"))
    assert spool.entries()[-1].submission_id == "last"
