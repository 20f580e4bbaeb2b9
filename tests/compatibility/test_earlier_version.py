"""A library and golden values made by an earlier version: this version opens, resumes and rebuilds it, and agrees.

`earlier/README.md` says how they were made. Texts for people (errors, next steps) may be worded anew; everything that
a program reads may not change.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import re
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from songflow.accounts import access_from_environment
from songflow.catalog.manifest import read_manifest
from songflow.families.registry import body_hash, extension_request, oldest_version, parse_request
from songflow.ledger.schema import SCHEMA_VERSION
from songflow.library.library import Library, LibrarySettings
from songflow.sweeps.cells import cells_of
from songflow.sweeps.spec import Source, parse_sweep

EARLIER = Path(__file__).parent / "earlier"
MADE_IN = "/music"
LATER = frozenset(
    {
        *("faults", "answer", "whole_path", "joined_by", "family", "cost_per_song", "credit"),
        *(
            "loudness_lufs",
            "true_peak_db",
            "loudness_range",
            "silence_start",
            "silence_end",
            "clipped_samples",
        ),
        *("tempo", "centroid_hz"),
        *(
            "rated_at",
            "rated_by",
            "decision",
            "decided_at",
            "decided_by",
            "notes",
            "noted_at",
            "noted_by",
            "trashed_at",
        ),
        "finished",
        *("request.title", "request.continue_at", "request.source_generation_id"),
        *("request.duration", "request.bpm", "request.key_scale", "request.vocal_language"),
        *("request.inference_steps", "request.batch_size", "request.thinking"),
    }
)
"""Fields that later versions have added."""
TEXTS = frozenset({"error", "next", "message", "reason", "note"})
MEASURED = {"sweep run": ["seconds"], "sweep status": ["per_hour", "eta_seconds"]}
"""What depends on the clock at the time of asking."""
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*(\+00:00|Z)?")


def golden(name: str) -> Any:
    """One file of golden values."""
    return json.loads((EARLIER / "golden" / f"{name}.json").read_text(encoding="utf-8"))


COMMANDS, REQUESTS, CELLS = golden("commands"), golden("requests"), golden("cells")
ROWS = golden("rows")
STORED = {row[name] for row in ROWS["songs"] for name in ("sha256", "audio_sha256")}
LAST_SECOND = max(
    row[name] for row in ROWS["submissions"] for name in ("intended_at", "settled_at") if row[name]
)


def copy_library(folder: Path) -> Path:
    """Copy the earlier library with its specs; its ledger then names the copied files."""
    for name in ("songs", "specs"):
        shutil.copytree(EARLIER / name, folder / name)
    with contextlib.closing(sqlite3.connect(folder / "songs" / "ledger.sqlite")) as database, database:
        for column in ("path", "cover_path"):
            database.execute(f"UPDATE songs SET {column} = replace({column}, ?, ?)", (MADE_IN, str(folder)))
    return folder / "songs"


def rows(ledger: Path) -> dict[str, list[dict[str, Any]]]:
    """All rows of the tables that the earlier version had."""
    with contextlib.closing(sqlite3.connect(ledger)) as database:
        database.row_factory = sqlite3.Row
        return {
            name: [dict(row) for row in database.execute(f"SELECT * FROM {name} ORDER BY rowid")]
            for name in ROWS
        }


def comparable(value: Any, folder: str) -> Any:
    """A value without what differs from run to run: folders, ports, minted keys, later times, texts for people."""
    if isinstance(value, dict):
        return {
            name: _comparable_field(name, found, folder) for name, found in value.items() if name not in LATER
        }
    if isinstance(value, list):
        return [comparable(item, folder) for item in value]
    if isinstance(value, float):
        return round(value, 6)
    if not isinstance(value, str):
        return value
    text = value.replace(folder, "{folder}").replace(MADE_IN, "{folder}")
    text = re.sub(r"127\.0\.0\.1:\d+", "{host}", text)
    text = re.sub(r"song-[0-9a-f]{20}", "{minted}", text)
    return TIME.sub(_without_later_time, text)


def _comparable_field(name: str, found: Any, folder: str) -> Any:
    if name in TEXTS and isinstance(found, str | None):
        return bool(found)
    if name in {"sha256", "audio_sha256"} and found not in STORED:
        # Its tags hold the time of the download, and processors differ in the last bit of the sound they render.
        return "{new file}"
    return comparable(found, folder)


def _without_later_time(found: re.Match[str]) -> str:
    time = found[0].replace("T", " ")
    return found[0] if time[:19] <= LAST_SECOND[:19] else "{now}"


def printed(stdout: Any, arguments: list[str], folder: str) -> Any:
    """What a command printed, as comparable data; of text for people, only whether there is any."""
    if "csv" in arguments:
        return comparable(list(csv.DictReader(io.StringIO(stdout))), folder)
    if isinstance(stdout, str):
        return bool(stdout)
    data = comparable(stdout, folder)
    if {"plan", "--plan"}.intersection(arguments):
        data.pop("seconds", None)  # an estimate, which later versions make better
    for name in MEASURED.get(" ".join(arguments[:2]), ()):
        del data[name]
    if "--cost" in arguments:
        del data["cost"]["today"]
    return data


def call(arguments: list[str]) -> tuple[int, Any]:
    """Run a command in this process: its exit code, and its stdout as data where it is JSON."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(out):
        code = run(arguments)
    out.flush()
    text = out.buffer.getvalue().decode()
    return code, json.loads(text) if text.startswith("{") else text


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[tuple[int, Any]]]]:
    """A copy of the library on which all recorded commands were run in order, and what they answered."""
    folder = tmp_path_factory.mktemp("earlier")
    copy_library(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name in (
            "COMETAPI_KEY",
            "OPENAI_HK_KEY",
            "SONGFLOW_API_KEY",
            "SONGFLOW_LIBRARY",
            "PREFECT_API_URL",
        ):
            patch.delenv(name, raising=False)
        patch.setenv("PREFECT_HOME", str(folder / "prefect"))
        patch.setattr(sys, "stdin", io.StringIO())
        patch.chdir(folder)
        yield folder, [call(recorded["arguments"]) for recorded in COMMANDS]


@pytest.mark.parametrize(
    "number", range(len(COMMANDS)), ids=lambda number: f"{number}-{COMMANDS[number]['arguments'][0]}"
)
def test_a_command_answers_as_the_earlier_version_did(
    used: tuple[Path, list[tuple[int, Any]]], number: int
) -> None:
    """The same exit code, and the same JSON but for the wording of texts."""
    folder, answers = used
    recorded = COMMANDS[number]
    code, stdout = answers[number]
    assert code == recorded["code"]
    expected = printed(recorded["stdout"], recorded["arguments"], str(folder))
    assert printed(stdout, recorded["arguments"], str(folder)) == expected


def test_no_command_paid_again(used: tuple[Path, list[tuple[int, Any]]]) -> None:
    """The gateway's own bill is as long as it was when the library was made."""

    def bill(library: Path) -> int:
        with contextlib.closing(sqlite3.connect(library / "simulator" / "simulator.sqlite")) as database:
            return int(database.execute("SELECT COUNT(*) FROM jobs").fetchone()[0])

    assert bill(used[0] / "songs") == bill(EARLIER / "songs")


def test_the_rebuilt_ledger_has_the_same_rows(used: tuple[Path, list[tuple[int, Any]]]) -> None:
    """Made from the songs' files alone; ids of rows and leases are new each time."""
    folder, _ = used
    own = {"id", "submission_id", "fence"}

    def content(tables: dict[str, list[dict[str, Any]]]) -> Any:
        kept = {
            name: [
                {
                    column: row[column]
                    for column in row
                    if column not in own and not column.startswith("lease_")
                }
                for row in found
            ]
            for name, found in tables.items()
        }
        return comparable(kept, str(folder))

    expected, found = content(golden("rebuilt")), content(rows(folder / "rebuilt" / "ledger.sqlite"))
    for name, recorded in expected.items():
        columns = recorded[0].keys() if recorded else ()
        assert [{column: row[column] for column in columns} for row in found[name]] == recorded, name


def test_its_ledger_migrates_and_keeps_every_row(tmp_path: Path) -> None:
    """Opened once, it has this version's schema, and every column of before with its value."""
    library = copy_library(tmp_path)

    async def open_it() -> dict[str, str]:
        async with Library(LibrarySettings(library)) as opened:
            frame = await read_manifest(opened.ledger)
            return {name: str(kind) for name, kind in frame.dtypes.items() if name not in LATER}

    assert asyncio.run(open_it()) == golden("columns")
    with contextlib.closing(sqlite3.connect(library / "ledger.sqlite")) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchone() == (SCHEMA_VERSION,)
    found = rows(library / "ledger.sqlite")
    for name, recorded in ROWS.items():
        assert len(found[name]) == len(recorded)
        for row, before in zip(found[name], recorded, strict=True):
            now = {column: row[column] for column in before}
            assert comparable(now, str(tmp_path)) == comparable(before, str(tmp_path)), name


@pytest.mark.parametrize("recorded", REQUESTS, ids=lambda recorded: json.dumps(recorded["given"])[:60])
def test_a_request_has_the_same_body_and_hash(recorded: dict[str, Any]) -> None:
    """Field by field in the same order, so that a paid key still has the same body."""
    given = recorded["given"]
    if "parent" in given:
        parent = parse_request(given["parent"]) if given["parent"] else None
        request = extension_request(
            parent,
            "song-1",
            mode=given.get("mode"),
            place=given.get("place"),
            overrides=given.get("overrides", {}),
        )
    else:
        request = parse_request(given)
    body = request.body()
    assert request.canonical() == recorded["canonical"]
    assert json.dumps(body, ensure_ascii=False) == recorded["body"]
    assert body_hash(body, recorded["hash_version"]) == recorded["hash"]
    assert oldest_version(body) == recorded["oldest_version"]
    assert request.model.price == recorded["price"]


@pytest.fixture
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Read the cells of a golden spec for a golden account."""
    monkeypatch.setenv("SONGFLOW_API_KEY", "sk-compatibility")
    for name in ("COMETAPI_KEY", "OPENAI_HK_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, text in CELLS["files"].items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    parents = {name: Source(parse_request(fields)) for name, fields in CELLS["parents"].items()}

    def read(spec: str, account: str) -> list[list[Any]]:
        access = access_from_environment(**CELLS["accounts"][account])
        found = cells_of(parse_sweep(CELLS["specs"][spec], tmp_path), access, parents)
        return [[cell.key, json.loads(json.dumps(dict(cell.fields)))] for cell in found]

    return read


@pytest.mark.parametrize("spec", CELLS["specs"])
def test_a_sweep_has_the_same_cells(cells: Any, spec: str) -> None:
    """The same keys in the same order: a sweep that goes on with this version pays for no cell again."""
    assert cells(spec, "embedded simulator") == CELLS["cells"][spec]


@pytest.mark.parametrize("account", CELLS["accounts"])
def test_the_cells_of_an_account_keep_their_keys(cells: Any, account: str) -> None:
    """The gateway, its address and the account's name count for a key as they did."""
    assert [key for key, _ in cells("grid", account)] == CELLS["keys of grid"][account]
