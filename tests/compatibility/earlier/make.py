"""Make the library and the golden values of this folder; runs with the code of commit a15817d only (see README.md).

Usage: PYTHONPATH=CLONE python make.py prepare FOLDER, then python make.py measure FOLDER
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
PATCHES = """
import socket
socket.gethostname = lambda: "studio"
import songflow.ledger.lease
songflow.ledger.lease._boot = lambda: "first-boot/pid:[1]"
"""
FAST = {"speed": 200.0, "sigma": 0.0, "clip_seconds": 1.0, "takes": 1}


def command(arguments: list[str], simulator: dict[str, Any]) -> int:
    """Run the command line in this process, with the embedded simulator set up as given."""
    import songflow.simulator as package
    from cli.main import run

    original = package.SimulatorSettings
    package.SimulatorSettings = lambda **given: original(**{**given, **simulator})  # type: ignore[assignment,misc]
    return run(arguments)


class Maker:
    """Runs commands in a folder, each as a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        patches = folder / "patches"
        patches.mkdir(parents=True, exist_ok=True)
        (patches / "sitecustomize.py").write_text(PATCHES)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home"),
            "LANG": "C.UTF-8",
            "PREFECT_HOME": str(folder / "prefect"),
            "PYTHONPATH": f"{patches}:{os.environ['PYTHONPATH']}",
        }

    def __call__(self, *arguments: str, code: int = 0, fail_point: str = "", **simulator: Any) -> Any:
        """The command's JSON, after its exit code was checked."""
        fails = {"SONGFLOW_FAIL_POINT": fail_point} if fail_point else {}
        ended = subprocess.run(
            [sys.executable, str(HERE), "--command", json.dumps(FAST | simulator), *arguments],
            cwd=self.folder,
            env=self.environment | fails,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == code, (arguments, ended.returncode, ended.stdout, ended.stderr)
        return json.loads(ended.stdout) if ended.stdout.startswith("{") else ended.stdout


def fault(name: str, **more: Any) -> dict[str, Any]:
    """The simulator's settings for one fault."""
    return {"faults": {"rules": [{"fault": name, **more}]}}


def make_library(run: Maker) -> str:
    """One generation of each kind; returns the id of the song that the others extend."""
    made = run(
        "generate", "a slow waltz for two cellos", "--lyrics", "la la\nla", "--seed", "7", "--key", "waltz",
        "--budget", "9", "--json", takes=2,
    )  # fmt: skip
    first = made["songs"][0]["song_id"]
    run("extend", first, "--place", "outro", "--key", "waltz-outro", "--json")
    run("rate", first, "4.5", "--json")
    (run.folder / "specs" / "extending.yaml").write_text(EXTENDING.format(song=first))
    failing = fault("failure", match="a broken radio", fail_reason="moderated (simulated)")
    run("sweep", "run", "specs/radio.yaml", "--json", code=4, **failing)
    run("song", "specs/two-parts.yaml", "--key", "whole", "--json")
    run("song", "specs/asking.yaml", "--key", "asking", "--json", code=5, takes=2)
    run(
        "generate",
        "an answer that was lost",
        "--key",
        "lost-answer",
        "--json",
        code=5,
        **fault("lost_answer"),
    )
    refused = fault(
        "status", on="submit", status=400, envelope="relay", code="bad", message="no such style", times=None
    )
    run("generate", "a refused style", "--key", "refused", "--json", code=3, **refused)
    run(
        "generate", "a failed hymn", "--key", "failed", "--json", code=4, **fault("failure", fail_reason="no")
    )
    run("generate", "a long night", "--key", "overdue", "--deadline", "0.2", "--json", code=5, speed=0.5)
    killed = {"fail_point": "accepted: after commit", "code": -9}
    run("generate", "a cut cable", "--key", "accepted", "--deadline", "5", "--json", **killed)
    return str(first)


def commands(song: str) -> list[list[str]]:
    """What is run on the made library, in this order: nothing of it pays."""
    return [
        ["songs", "--json"],
        ["songs", "--format", "csv"],
        ["songs", "--where", "take == 0 and seconds > 1.2", "--json"],
        ["songs", "--cost", "--json"],
        ["songs", "--tree"],
        ["rescue", "--list", "--json"],
        ["generate", "a slow waltz for two cellos", "--lyrics", "la la\nla", "--seed", "7", "--key", "waltz", "--json"],
        ["generate", "another song", "--key", "waltz", "--json"],
        ["generate", "an answer that was lost", "--key", "lost-answer", "--json"],
        ["generate", "an answer that was lost", "--key", "a-new-key", "--json"],
        ["generate", "a failed hymn", "--key", "failed", "--json"],
        ["generate", "too dear", "--key", "too-dear", "--budget", "0", "--json"],
        ["generate", "no key", "--key", "no-key", "--gateway", "cometapi", "--json"],
        ["generate", "x", "--quality", "0.3", "--json"],
        ["extend", song, "--place", "outro", "--key", "waltz-outro", "--json"],
        ["extend", "nobody-knows-it", "--json"],
        ["sweep", "plan", "specs/radio.yaml", "--json"],
        ["sweep", "status", "specs/radio.yaml", "--json"],
        ["sweep", "run", "specs/radio.yaml", "--json"],
        ["sweep", "plan", "specs/grid.yaml", "--json"],
        ["sweep", "plan", "specs/extending.yaml", "--json"],
        ["sweep", "plan", "specs/faulty.yaml", "--json"],
        ["song", "specs/two-parts.yaml", "--key", "whole", "--json"],
        ["song", "specs/two-parts.yaml", "--plan", "--json"],
        ["song", "specs/asking.yaml", "--key", "asking", "--json"],
        ["generate", "a long night", "--key", "overdue", "--json"],
        ["rescue", "--deadline", "60", "--json"],
        ["rescue", "--write-off", "lost-answer", "--json"],
        ["rescue", "--list", "--json"],
        ["pause", "--json"],
        ["generate", "paused", "--key", "paused", "--json"],
        ["resume", "--json"],
        ["songs", "--json"],
        ["rebuild", "songs/audio", "--library", "rebuilt", "--json"],
        ["songs", "--library", "rebuilt", "--json"],
        ["rebuild", "songs/audio", "--json"],
    ]  # fmt: skip


RADIO = """\
name: radio
prompt: a slow waltz
lyrics_type: instrumental
grid:
  seed: [1, 2]
list:
  - {negative_prompt: drums}
  - {prompt_strength: 0.7}
"""
BROKEN = """\
name: radio
lyrics_type: instrumental
list:
  - {prompt: a calm radio}
  - {prompt: a broken radio, seed: 3}
"""
EXTENDING = """\
name: extending
source_song_id: {song}
grid:
  place: [intro, outro]
  prompt_strength: [0.4, 0.6]
"""
FAULTY = """\
name: faulty
prompt: x
grid:
  prompt_strength: [0.2, 2]
  nonsense: [1]
"""
TWO_PARTS = """\
name: Two parts
variables:
  prompt: a waltz in two parts
core:
  prompt: ${prompt}
  seed: 5
steps:
  - name: ending
    place: outro
    take: longest
"""
ASKING = """\
name: Asking
core:
  prompt: a song with a question
  take: ask
steps:
  - name: ending
    place: outro
"""


def replay(made: Path, work: Path, run: Maker, song: str) -> list[dict[str, Any]]:
    """Every command with its exit code and what it printed, on a copy of the library."""
    shutil.copytree(made / "songs", work / "songs")
    shutil.copytree(made / "specs", work / "specs")
    move(work / "songs", made, work)
    answers = []
    for arguments in commands(song):
        ended = subprocess.run(
            [sys.executable, str(HERE), "--command", "{}", *arguments],
            cwd=work,
            env=run.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        printed: Any = ended.stdout.replace(str(work), "{folder}")
        if printed.startswith("{"):
            printed = json.loads(printed)
        answers.append({"arguments": arguments, "code": ended.returncode, "stdout": printed})
    return answers


def move(library: Path, made: Path, work: Path) -> None:
    """Let the ledger of a copied library name the copied files."""
    with sqlite3.connect(library / "ledger.sqlite") as database:
        for column in ("path", "cover_path"):
            database.execute(f"UPDATE songs SET {column} = replace({column}, ?, ?)", (str(made), str(work)))


def rows(ledger: Path) -> dict[str, list[dict[str, Any]]]:
    """All rows of a ledger's tables."""
    tables = ("generations", "submissions", "songs", "choices", "budgets", "switches", "paces")
    with sqlite3.connect(ledger) as database:
        database.row_factory = sqlite3.Row
        return {
            name: [dict(row) for row in database.execute(f"SELECT * FROM {name} ORDER BY rowid")]
            for name in tables
        }


def dtypes(library: Path) -> dict[str, str]:
    """The manifest's columns with their types."""
    from songflow.manifest import read_manifest

    from songflow.library import Library, LibrarySettings

    async def read() -> dict[str, str]:
        async with Library(LibrarySettings(library)) as opened:
            frame = await read_manifest(opened.ledger)
            return {name: str(kind) for name, kind in frame.dtypes.items()}

    return asyncio.run(read())


BODIES: list[dict[str, Any]] = [
    {"prompt": "a slow waltz"},
    {"prompt": "Größe 歌 \U0001f3bb", "seed": 7},
    {"prompt": "x", "seed": 2**63 - 1},
    {"prompt": "x", "seed": 0},
    {"prompt": "x", "lyrics": "la\nla\t\"la\""},
    {"prompt": "x", "lyrics": "la", "lyrics_type": "user"},
    {"prompt": "x", "lyrics_type": "instrumental"},
    {"prompt": "x", "lyrics_type": "generate"},
    {"prompt": "x", "model_type": "udio130-v1.5"},
    {"prompt": "x", "negative_prompt": "drums"},
    {"prompt": "x", "prompt_strength": 0},
    {"prompt": "x", "prompt_strength": 0.1},
    {"prompt": "x", "prompt_strength": 1},
    {"prompt": "x", "prompt_strength": 0.30000000000000004},
    {"prompt": "x", "clarity_strength": 0.9},
    {"prompt": "x", "lyrics_strength": 0.125},
    {"prompt": "x", "generation_quality": 0.25},
    {"prompt": "x", "generation_quality": 1},
    {"prompt": "x", "bypass_prompt_optimization": True},
    {"prompt": "x", "song_section_start": 0.4},
    {"prompt": "x", "song_section_start": 0.4, "song_section_end": 0.8},
    {"prompt": "x", "song_section_start": 0.4, "song_section_end": None},
    {"prompt": "x", "lyrics": "la", "lyrics_placement_start": 0, "lyrics_placement_end": 0.95},
    {"prompt": "x", "mode": "precede", "source_song_id": "song-1"},
    {"prompt": "x", "mode": "continuation", "source_song_id": "song-1"},
    {"prompt": "x", "mode": "continuation", "source_song_id": "song-1", "song_section_start": 0.9},
    {"prompt": "x", "mode": "precede", "source_song_id": "song-1", "context_length": 12.5},
    {"prompt": "x", "mode": "continuation", "source_song_id": "song-1", "model_type": "udio130-v1.5", "seed": 3},
]  # fmt: skip

PARENT = {
    "prompt": "a slow waltz", "lyrics": "la la", "seed": 11, "model_type": "udio130-v1.5",
    "negative_prompt": "drums", "prompt_strength": 0.6,
}  # fmt: skip
EXTENSIONS: list[dict[str, Any]] = [
    {"parent": PARENT},
    {"parent": PARENT, "place": "intro"},
    {"parent": PARENT, "place": "front", "overrides": {"lyrics_type": "instrumental"}},
    {"parent": PARENT, "place": "back", "overrides": {"prompt": "faster", "seed": 4}},
    {"parent": PARENT, "place": "outro", "overrides": {"lyrics": "the end", "context_length": 20}},
    {"parent": PARENT, "mode": "precede"},
    {"parent": PARENT, "mode": "continuation", "overrides": {"song_section_start": 0.5}},
    {"parent": None, "place": "outro", "overrides": {"prompt": "of a song that nobody knows"}},
]

FILES = {
    "prompts.txt": "a waltz\n\na polka\n",
    "words/one.txt": "la la",
    "words/two.txt": "na na na",
    "rows.csv": "prompt,seed,model_type\na reel,1,udio32-v1.5\na jig,,udio130-v1.5\n",
}
SPECS: dict[str, Any] = {
    "fixed": {"prompt": "a waltz", "seed": 3},
    "grid": {
        "prompt": "a waltz",
        "grid": {"prompt_strength": [0.3, 0.5], "model_type": ["udio32-v1.5", "udio130-v1.5"]},
    },
    "steps": {"prompt": "a waltz", "grid": {"clarity_strength": {"from": 0, "to": 1, "steps": 5}}},
    "lines": {"grid": {"prompt": {"lines": "prompts.txt"}}},
    "files": {"prompt": "a waltz", "grid": {"lyrics": {"files": "words/*.txt"}}},
    "column": {"grid": {"prompt": {"csv": "rows.csv", "column": "prompt"}}},
    "file": {"prompt": "a waltz", "lyrics": {"file": "words/one.txt"}},
    "zip": {"prompt": "a waltz", "zip": {"seed": [1, 2, 3], "negative_prompt": ["drums", "bass", ""]}},
    "list": {"prompt": "a waltz", "list": [{"seed": 1}, {"lyrics_strength": 0.9, "lyrics": "la"}]},
    "csv": {"list": {"csv": "rows.csv"}},
    "random": {"prompt": "a waltz", "random": {"n": 6, "seed": 7, "fields": {"prompt_strength": {"from": 0, "to": 1}}}},
    "sobol": {"prompt": "a waltz", "sobol": {"n": 8, "seed": 7, "fields": {
        "prompt_strength": {"from": 0.2, "to": 0.8}, "generation_quality": [0.25, 0.5, 1]}}},
    "lhs": {"prompt": "a waltz", "lhs": {"n": 5, "seed": 1, "fields": {
        "clarity_strength": {"from": 0, "to": 1}, "lyrics_strength": {"from": 0, "to": 1}}}},
    "replicates": {"prompt": "a waltz", "seed": 4, "replicates": 3},
    "random seeds": {"prompt": "a waltz", "grid": {"seed": [-1, -1, 5, 5]}, "replicates": 2},
    "constraints": {
        "prompt": "a waltz",
        "grid": {"prompt_strength": [0.2, 0.5, 0.9], "clarity_strength": [0.1, 0.6]},
        "constraints": ["prompt_strength + clarity_strength <= 1.2", "model_type == 'udio32-v1.5'"],
    },
    "everything": {
        "prompt": "a waltz", "grid": {"model_type": ["udio32-v1.5", "udio130-v1.5"]},
        "zip": {"seed": [1, 2], "negative_prompt": ["a", "b"]},
        "list": [{"lyrics": "la"}, {"lyrics_type": "instrumental"}],
        "sobol": {"n": 2, "fields": {"clarity_strength": {"from": 0, "to": 1}}}, "replicates": 2,
    },
    "extensions by place": {"source_song_id": "song-1", "grid": {"place": ["intro", "front", "back", "outro"]}},
    "extensions by mode": {
        "source_song_id": "song-1",
        "list": [{"mode": "precede"}, {"mode": "continuation", "song_section_start": 0.7, "context_length": 30}],
    },
    "extensions of several": {
        "grid": {"source_song_id": ["song-1", "song-2"], "prompt_strength": [0.4, 0.8]},
        "prompt": "faster", "place": "outro", "replicates": 2,
    },
}  # fmt: skip
ACCOUNTS: dict[str, dict[str, Any]] = {
    "embedded simulator": {},
    "simulator at a port": {"gateway": "simulator", "base_url": "http://127.0.0.1:8765"},
    "cometapi": {"gateway": "cometapi"},
    "cometapi elsewhere": {"gateway": "cometapi", "base_url": "http://localhost:9000/"},
    "openai-hk": {"gateway": "openai-hk"},
    "openai-hk, the other host": {"gateway": "openai-hk", "base_url": "https://pi.openai-hk.com"},
    "custom": {"gateway": "custom", "base_url": "https://songs.example/api", "shape": "D"},
}


def golden_requests() -> list[dict[str, Any]]:
    """Canonical bodies and hashes."""
    from songflow.extending import extension_request
    from songflow.request import HASH_VERSION, SongRequest, body_hash, oldest_version

    made = [(given, SongRequest.parse(given)) for given in BODIES]
    for given in EXTENSIONS:
        parent = SongRequest.parse(given["parent"]).body()["gen_params"] if given["parent"] else None
        found = extension_request(
            parent, "song-1", mode=given.get("mode"), place=given.get("place"),
            overrides=given.get("overrides", {}),
        )  # fmt: skip
        made.append((given, found))
    return [
        {
            "given": given,
            "canonical": request.canonical(),
            "body": json.dumps(request.body(), ensure_ascii=False),  # as text: the order of the fields counts
            "hash": body_hash(request.body()),
            "hash_version": HASH_VERSION,
            "oldest_version": oldest_version(request.body()),
            "price": request.model.price,
        }
        for given, request in made
    ]


def golden_cells(folder: Path) -> dict[str, Any]:
    """The keys of sweeps' cells, by spec and account."""
    from songflow.access import access_from_environment
    from songflow.request import SongRequest

    from songflow.sweeps.cells import cells_of
    from songflow.sweeps.spec import parse_sweep

    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    parents = {"song-1": SongRequest.parse(PARENT).body()["gen_params"]}
    os.environ["SONGFLOW_API_KEY"] = "sk-compatibility"
    accounts = {name: access_from_environment(**given) for name, given in ACCOUNTS.items()}

    def cells(spec: dict[str, Any], account: str) -> list[list[Any]]:
        sweep = parse_sweep(spec, folder)
        return [[cell.key, dict(cell.fields)] for cell in cells_of(sweep, accounts[account], parents)]

    return {
        "files": FILES,
        "parents": {"song-1": PARENT},
        "accounts": ACCOUNTS,
        "specs": SPECS,
        "cells": {name: cells(spec, "embedded simulator") for name, spec in SPECS.items()},
        "keys of grid": {name: [key for key, _ in cells(SPECS["grid"], name)] for name in ACCOUNTS},
    }


def write(path: Path, value: Any) -> None:
    """Write a golden file: JSON, a value on each line."""
    path.parent.mkdir(exist_ok=True)
    text = json.dumps(value, indent=1, ensure_ascii=False)
    path.write_text(
        text.replace(f"{path.parent.parent}/work/", f"{path.parent.parent}/") + "\n", encoding="utf-8"
    )


def last_lease(ledger: Path) -> float:
    """Seconds until no lease of the library holds any more."""
    with sqlite3.connect(ledger) as database:
        found = database.execute(
            "SELECT MAX((julianday(lease_expires_at) - julianday('now')) * 86400) FROM submissions"
        ).fetchone()
    return float(found[0])


def prepare(folder: Path) -> None:
    """Make the library, and wait until none of its leases holds any more."""
    run = Maker(folder)
    (folder / "specs").mkdir()
    for name, text in (
        ("radio", BROKEN), ("two-parts", TWO_PARTS), ("asking", ASKING), ("faulty", FAULTY), ("grid", RADIO),
    ):  # fmt: skip
        (folder / "specs" / f"{name}.yaml").write_text(text)
    make_library(run)
    library = folder / "songs"
    shutil.rmtree(library / "simulator" / "audio", ignore_errors=True)  # it makes them anew
    for ledger in (library / "ledger.sqlite", library / "simulator" / "simulator.sqlite"):
        with sqlite3.connect(ledger) as database:
            database.execute("PRAGMA journal_mode=DELETE")
    time.sleep(max(0.0, last_lease(library / "ledger.sqlite") + 1))


def measure(folder: Path) -> None:
    """Write the golden values of a library that `prepare` made."""
    golden, library = folder / "golden", folder / "songs"
    for work in folder.glob("work*"):
        shutil.rmtree(work)
    work = folder / "work"
    work.mkdir()
    song = (folder / "specs" / "extending.yaml").read_text().split()[3]
    write(golden / "rows.json", rows(library / "ledger.sqlite"))
    write(golden / "requests.json", golden_requests())
    write(golden / "cells.json", golden_cells(folder / "cells"))
    write(golden / "commands.json", replay(folder, work, Maker(folder), song))
    write(golden / "rebuilt.json", rows(work / "rebuilt" / "ledger.sqlite"))
    write(golden / "columns.json", dtypes(work / "songs"))


if __name__ == "__main__":
    if sys.argv[1] == "--command":
        sys.exit(command(sys.argv[3:], json.loads(sys.argv[2])))
    {"prepare": prepare, "measure": measure}[sys.argv[1]](Path(sys.argv[2]).resolve())
