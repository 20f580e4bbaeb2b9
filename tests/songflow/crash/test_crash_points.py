"""SIGKILL at every fail point, then the same request key again: billed once, songs complete.

The table says for each point where the submission stands after the kill and how the next process with the same
key ends. Only where the request may have left, and no answer reached this disk, it ends as `unknown`.
"""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from songflow.audio.checksums import audio_sha256_of
from songflow.audio.decoding import measure
from songflow.audio.id3 import read_tag
from songflow.ledger import State
from songflow.ledger.states import SongState
from songflow.library.provenance import read_provenance
from songflow.runtime.failpoints import FAIL_POINTS
from songflow.settings import LibrarySettings

KILLED = -signal.SIGKILL
PRICE = 1.0
TAKES = 2
EXIT = {"stored": 0, "failed": 4, "unknown": 5, "lost": 5, "paused": 6}


@dataclass(frozen=True)
class Scene:
    """What leads to a fail point: steps before, the gateway's faults, the command that is killed there."""

    command: str = "generate"
    faults: tuple[dict[str, Any], ...] = ()
    plan: dict[str, Any] = field(default_factory=dict)
    prepare: tuple[tuple[str, int, tuple[dict[str, Any], ...]], ...] = ()  # command, its exit code, faults
    heals: bool = True
    new_ledger: bool = False
    remote: bool = False
    unreachable: bool = False


LOST_ANSWER = {"fault": "lost_answer"}
TOO_MANY = {"fault": "status", "on": "submit", "status": 429, "envelope": "openai"}

SCENES = {
    "a generation": Scene(),
    "a new ledger": Scene(new_ledger=True),
    "a remote store": Scene(remote=True),
    "nobody listens": Scene(unreachable=True),
    "refused": Scene(
        faults=({"fault": "status", "on": "submit", "status": 400, "envelope": "relay", "times": None},)
    ),
    "its answer is lost": Scene(faults=(LOST_ANSWER,)),
    "it fails": Scene(faults=({"fault": "failure"},), heals=False),
    "never ready": Scene(
        faults=({"fault": "unknown_for_ever", "times": None},), plan={"settings": {"deadline": 0.0}}
    ),
    "it vanishes": Scene(
        faults=({"fault": "vanishes", "fetches": 0, "times": None},), plan={"visibility": -1.0}
    ),
    "collected later": Scene(prepare=(("generate", 5, ({"fault": "dead", "times": None},)),)),
    "dead downloads": Scene(faults=({"fault": "dead", "times": None},)),
    "an unknown written off": Scene("write-off", prepare=(("generate", 5, (LOST_ANSWER,)),)),
    "a pause": Scene("pause"),
    "the end of a pause": Scene("resume", prepare=(("pause", 0, ()),)),
    "a rating": Scene("rate", prepare=(("generate", 0, ()),)),
    "measures": Scene("measure", prepare=(("generate", 0, ()),)),
    "a remark": Scene("note", prepare=(("generate", 0, ()),)),
    "a callback": Scene("hint"),
    "a rebuild": Scene("rebuild", prepare=(("generate", 0, ()), ("lose the ledger", 0, ()))),
    "too many requests": Scene(faults=(TOO_MANY,)),
    "after too many": Scene(prepare=(("generate", 3, (TOO_MANY,)),)),
}


@dataclass(frozen=True)
class Case:
    """A point (`#2`: at its second arrival), what it leaves, how the next process ends, and what was sent in all."""

    point: str
    left: State | None
    ends: str = "stored"
    scene: str = "a generation"
    billed: int = 1
    posts: int = 1

    def __str__(self) -> str:
        return f"{self.point}, {self.scene}"


S = State
CASES = (
    Case("migrate: before commit", None, scene="a new ledger"),
    Case("migrate: after commit", None, scene="a new ledger"),
    Case("reserve: before fsync", None),
    Case("reserve: after fsync", None),
    Case("intent: before commit", None),
    Case("intent: after commit", S.INTENDED),
    Case("sending: before commit", S.INTENDED),
    # From here until the answer is on this disk nobody can tell whether the request left.
    Case("sending: after commit", S.SENDING, "unknown", billed=0, posts=0),
    Case("sender: before handover", S.SENDING, "unknown", billed=0, posts=0),
    Case("post: before request", S.SENDING, "unknown", billed=0, posts=0),
    Case("post: after request", S.SENDING, "unknown"),
    # The line is written: a killed process loses nothing of it (a power loss might; see below).
    Case("spool: before fsync", S.SENDING),
    Case("spool: after fsync", S.SENDING),
    Case("spool folder: before fsync", S.SENDING),
    Case("spool folder: after fsync", S.SENDING),
    # Only the process that asked is dead: its sender commits what it knows.
    Case("sender: after handover", S.ACCEPTED),
    Case("accepted: before commit", S.SENDING),
    Case("accepted: after commit", S.ACCEPTED),
    Case("running: before commit", S.ACCEPTED),
    Case("running: after commit", S.RUNNING),
    Case("succeeded: before commit", S.RUNNING),
    Case("succeeded: after commit", S.SUCCEEDED),
    Case("hold: before commit", S.SUCCEEDED),
    Case("hold: after commit", S.SUCCEEDED),
    Case("hold: before commit", S.SUCCEEDED, scene="collected later"),
    Case("hold: after commit", S.SUCCEEDED, scene="collected later"),
    Case("part: before fsync", S.SUCCEEDED),
    Case("part: after fsync", S.SUCCEEDED),
    Case("cover: before fsync", S.SUCCEEDED),
    Case("cover: after fsync", S.SUCCEEDED),
    Case("cover: before rename", S.SUCCEEDED),
    Case("cover: after rename", S.SUCCEEDED),
    Case("cover: before upload", S.SUCCEEDED, scene="a remote store"),
    Case("cover: after upload", S.SUCCEEDED, scene="a remote store"),
    Case("song: before fsync", S.SUCCEEDED),
    Case("song: after fsync", S.SUCCEEDED),
    Case("song: before rename", S.SUCCEEDED),
    Case("song: after rename", S.SUCCEEDED),
    Case("folder: before fsync", S.SUCCEEDED),
    Case("folder: after fsync", S.SUCCEEDED),
    Case("song: before upload", S.SUCCEEDED, scene="a remote store"),
    Case("song: after upload", S.SUCCEEDED, scene="a remote store"),
    Case("song stored: before commit", S.SUCCEEDED),
    Case("song stored: after commit", S.SUCCEEDED),
    Case("song stored: before commit#2", S.SUCCEEDED),
    Case("song stored: after commit#2", S.SUCCEEDED),
    Case("release: before commit", S.SUCCEEDED),
    Case("release: after commit", S.SUCCEEDED),
    Case("song problem: before commit", S.SUCCEEDED, scene="dead downloads"),
    Case("song problem: after commit", S.SUCCEEDED, scene="dead downloads"),
    # Not sent, or refused: the spool knows that, too.
    Case("unsent: before commit", S.SENDING, scene="nobody listens"),
    Case("unsent: after commit", S.UNSENT, scene="nobody listens"),
    Case("refused: before commit", S.SENDING, scene="refused", posts=2),
    Case("refused: after commit", S.REFUSED, scene="refused", posts=2),
    Case("unknown: before commit", S.SENDING, "unknown", "its answer is lost"),
    Case("unknown: after commit", S.UNKNOWN, "unknown", "its answer is lost"),
    Case("failed: before commit", S.RUNNING, "failed", "it fails"),
    Case("failed: after commit", S.FAILED, "failed", "it fails"),
    Case("overdue: before commit", S.RUNNING, scene="never ready"),
    Case("overdue: after commit", S.OVERDUE, scene="never ready"),
    Case("lost: before commit", S.ACCEPTED, scene="it vanishes"),
    Case("lost: after commit", S.LOST, "lost", "it vanishes"),
    Case("write-off: before commit", S.UNKNOWN, "unknown", "an unknown written off"),
    Case("write-off: after commit", S.UNKNOWN, "unknown", "an unknown written off"),
    Case("pause: before commit", None, scene="a pause"),
    Case("pause: after commit", None, "paused", "a pause"),
    Case("resume: before commit", None, "paused", "the end of a pause"),
    Case("resume: after commit", None, scene="the end of a pause"),
    Case("songs measured: before commit", S.SUCCEEDED, scene="measures"),
    Case("songs measured: after commit", S.SUCCEEDED, scene="measures"),
    Case("judged: before commit", S.SUCCEEDED, scene="a rating"),
    Case("judged: after commit", S.SUCCEEDED, scene="a rating"),
    Case("song noted: before commit", S.SUCCEEDED, scene="a remark"),
    Case("song noted: after commit", S.SUCCEEDED, scene="a remark"),
    Case("hint: before commit", S.ACCEPTED, scene="a callback"),
    Case("hint: after commit", S.ACCEPTED, scene="a callback"),
    # Without its rows the key would pay again: a rebuild that was cut off is run once more before it.
    Case("rebuilt: before commit", None, scene="a rebuild"),
    Case("rebuilt: after commit", S.SUCCEEDED, scene="a rebuild"),
    # Slowing down, taking a slot (the second submission's), and speeding up again.
    Case("pace: before commit", S.REFUSED, scene="too many requests", posts=2),
    Case("pace: after commit", S.REFUSED, scene="too many requests", posts=2),
    Case("pace: before commit", S.INTENDED, scene="after too many", posts=2),
    Case("pace: after commit", S.INTENDED, scene="after too many", posts=2),
    Case("pace: before commit#2", S.ACCEPTED, scene="after too many", posts=2),
    Case("pace: after commit#2", S.ACCEPTED, scene="after too many", posts=2),
)


def test_every_fail_point_is_in_the_table() -> None:
    """No act that lasts is left out, and none is tested that is not there (each row proves that it was reached)."""
    elsewhere = {"choice: before commit", "choice: after commit"}  # test_crash_recipes.py
    elsewhere |= {"song moved: before commit", "song moved: after commit"}  # library/test_trash.py
    elsewhere |= {"finished: before commit", "finished: after commit"}  # library/test_finishing.py
    assert {case.point.partition("#")[0] for case in CASES} | elsewhere == set(FAIL_POINTS)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def home(
    request: pytest.FixtureRequest, tmp_path: Path, case: Case, sqlite_template: Path
) -> LibrarySettings:
    """The library of a case, on SQLite and on PostgreSQL, with a migrated ledger unless the case is about that."""
    scene = SCENES[case.scene]
    url = None
    if request.param == "postgres":
        url = request.getfixturevalue("new_postgres" if scene.new_ledger else "postgres_url")
    # To fsspec `local` is a file system like any other; only `file` is known to be our own disk.
    remote = f"local://{tmp_path}/bucket" if scene.remote else None
    library = LibrarySettings(tmp_path / "library", ledger_url=url, audio_url=remote)
    if url is None and not scene.new_ledger:
        library.folder.mkdir()
        shutil.copy(sqlite_template, library.folder)
    return library


def _current(place) -> State | None:
    rows = place.look().submissions
    return rows[-1].state if rows else None


def _assert_whole(place, result) -> None:
    """Both takes are files that decode, are those of the ledger, and nothing else calls itself a song."""
    rows = place.look().songs
    assert [row.state for row in rows] == [SongState.STORED] * TAKES == [SongState.STORED] * len(rows)
    assert [song["sha256"] for song in result["songs"]] == [row.sha256 for row in rows]
    files = [Path(row.path.removeprefix("file://")) for row in rows]
    for row, file in zip(rows, files, strict=True):
        assert sha256(file.read_bytes()).hexdigest() == row.sha256
        assert measure(file).seconds == pytest.approx(0.25, abs=0.02)
        with file.open("rb") as song:
            assert read_provenance(song).provenance.audio.sha256 == audio_sha256_of(song) == row.audio_sha256
            assert read_tag(song).picture.data == Path(row.cover_path.removeprefix("file://")).read_bytes()
    assert set(files[0].parent.glob("*.mp3")) == set(files)
    unfinished = [*place.library.folder.rglob(".parts/*"), *place.library.folder.rglob("parts/*")]
    assert {file.suffix for file in unfinished} == {".lock"}


def _assert_balance(place, *, spent: float, reserved: float) -> None:
    balance = place.look().balance
    assert (balance.spent, balance.reserved) == (spent, reserved)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_after_a_kill_the_same_key_ends_as_the_table_says(
    case: Case, home, desk, forks, closed_url, make_place, record_property, request
) -> None:
    """At every point: one charge and complete songs, or an unknown outcome that is never sent again."""
    scene, place = SCENES[case.scene], make_place(home)
    seen = desk.posts()
    for command, code, faults in scene.prepare:
        desk.play(*faults)
        assert forks.run(place.plan(command)).code == code
    desk.play(*scene.faults)
    plan = place.plan(scene.command, **scene.plan)
    if scene.unreachable:
        plan["url"] = closed_url
    killed = forks.run(plan, kill_at=case.point)
    assert killed.code == KILLED, killed
    if not case.point.startswith("migrate"):
        assert place.when_sender_ends() == case.left
    if scene.heals:
        desk.play()

    if scene.command == "rebuild":
        assert forks.run(place.plan("rebuild")).code == 0
    back = forks.run(place.plan())
    assert back.code == EXIT[case.ends], back.log
    if case.ends == "stored":
        _assert_whole(place, back.answer)
        _assert_balance(place, spent=PRICE, reserved=0)
    elif case.ends == "paused":
        assert (desk.posts() - seen, back.answer["kind"]) == (0, "SpendingStopped")
        assert forks.run(place.plan("resume")).code == 0
        later = forks.run(place.plan())
        assert later.code == 0, later.log
        _assert_whole(place, later.answer)
    else:
        assert back.answer["state"] == case.ends
        assert "--key key" in back.answer["next"] or "rescue" in back.answer["next"] or case.ends == "failed"
    if scene.command == "write-off":
        again = forks.run(place.plan("write-off"))
        assert again.code == (0 if "before" in case.point else 2), again
        _assert_balance(place, spent=0, reserved=0)
    elif case.ends == "unknown":
        _assert_balance(place, spent=0, reserved=PRICE)
        rescued = forks.run(place.plan("rescue"))
        assert (rescued.code, rescued.answer["rows"][0]["state"]) == (5, "unknown"), rescued
    elif case.ends == "lost":
        rescued = forks.run(place.plan("rescue"))
        assert rescued.code == 0, rescued.log
        _assert_whole(place, rescued.answer["rows"][0])

    posts, billed = desk.posts() - seen, desk.billed(place.prompt)
    assert (posts, billed) == (case.posts, case.billed)
    stored = sum(row.state is SongState.STORED for row in place.look().songs)
    database = "postgres" if home.ledger_url else "sqlite"
    row = (CASES.index(case), case.point, case.scene, database, case.left or "-", case.ends)
    record_property("crash", "|".join(map(str, (*row, posts, billed, stored))))


@pytest.mark.parametrize(
    ("point", "ends"),
    [
        ("post: before request", "unknown"),
        ("post: after request", "unknown"),
        ("spool: before fsync", "stored"),
        ("spool: after fsync", "stored"),
        ("spool folder: before fsync", "stored"),
        ("spool folder: after fsync", "stored"),
    ],
)
def test_a_sender_that_dies_alone_is_noticed_at_once(local_place, forks, point: str, ends: str) -> None:
    """The process that asked it goes on with what the spool says, or with an unknown outcome; nothing is resent."""
    place = local_place
    seen = place.desk.posts()
    ended = forks.run(place.plan(), kill_at=point, one_machine=False)
    assert ended.code == EXIT[ends], ended.log
    if ends == "stored":
        _assert_whole(place, ended.answer)
    else:
        assert "its sender died" in ended.answer["error"]
    assert forks.run(place.plan()).code == EXIT[ends]
    assert place.desk.posts() - seen == (0 if point == "post: before request" else 1)


@pytest.mark.parametrize(
    ("point", "ends"), [("spool: before fsync", "unknown"), ("spool: after fsync", "stored")]
)
def test_after_a_power_loss_only_a_synced_spool_line_counts(
    local_place, forks, point: str, ends: str
) -> None:
    """The machine dies with the process: an answer that was not synced is lost, so it is unknown, not resent."""
    place = local_place
    assert forks.run(place.plan(), kill_at=point).code == KILLED
    if "before" in point:
        for file in (place.library.folder / "spool").iterdir():
            file.unlink()
    back = forks.run(place.plan())
    assert back.code == EXIT[ends], back.log
    assert place.desk.billed(place.prompt) == 1
    if ends == "stored":
        _assert_whole(place, back.answer)


def test_a_cut_spool_line_does_not_swallow_the_next_one(local_place, forks) -> None:
    """A truncated line is ignored; the next one is read."""
    place = local_place
    place.library.folder.joinpath("spool").mkdir(parents=True)
    assert forks.run(place.plan(), kill_at="spool: after fsync").code == KILLED
    (file,) = (place.library.folder / "spool").glob("accepted.*.jsonl")
    whole = file.read_bytes()
    file.write_bytes(json.dumps({"submission_id": "x"}).encode()[:9] + whole)
    back = forks.run(place.plan())
    assert back.code == 0, back.log
    assert place.desk.billed(place.prompt) == 1


def test_a_fail_point_is_armed_by_the_environment_of_a_new_interpreter(local_place, tmp_path) -> None:
    """The variable alone is enough, without the machinery of these tests."""
    import os
    import subprocess
    import sys

    from songflow.runtime.failpoints import FAIL_POINT_VARIABLE

    code = (
        "import sys, songflow; songflow.generate_sync('a waltz', safety={'key': 'key'}, library=sys.argv[1])"
    )
    environment = {**os.environ, FAIL_POINT_VARIABLE: "sending: before commit"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "library")], env=environment, capture_output=True
    )
    assert done.returncode == KILLED, done.stderr.decode()
    assert _current(local_place) is State.INTENDED
