"""`songs`, `simulate`, `demo` and the help, in real processes."""

from __future__ import annotations

import io
import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from support.not_prefect import http, listening

from songflow.catalog.manifest import COLUMNS


def test_the_demo_makes_a_whole_song(shell: Any) -> None:
    """No key and no set-up: a core, an intro before it and an outro after it, each longer than the last.

    Nothing of it is asked of a proxy.
    """
    with listening(lambda _: http(403)) as (proxy, asked):
        proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "https_proxy"), proxy)
        environment = {"COMETAPI_KEY": None, "OPENAI_HK_KEY": None, "NO_PROXY": "elsewhere.test", **proxies}
        run = shell.run("demo", "--json", env=environment)
    assert run.code == 0, run.err
    assert {path for path in asked if "127.0.0.1" in path} == set()
    steps = run.json["steps"]
    lengths = [step["songs"][0]["duration"] for step in steps]
    assert len(lengths) == 3
    assert lengths[0] < lengths[1] < lengths[2]
    assert Path(run.json["song"]).is_file()
    assert run.json["contains_core"] is True
    assert run.json["core_at"] == pytest.approx(lengths[1] - lengths[0], abs=0.1)
    assert Path(run.json["picture"]).read_bytes().startswith(b"\x89PNG")
    [tree] = run.json["tree"]
    assert [child["place"] for child in tree["children"]] == ["intro", "intro"]
    assert [grandchild["place"] for grandchild in tree["children"][0]["children"]] == ["outro", "outro"]
    rows = shell.run("songs", "--where", "take == 0", "--json").json["songs"]
    assert [row["mode"] for row in rows] == ["regular", "precede", "continuation"]
    assert [row["depth"] for row in rows] == [0, 1, 2]
    assert [row["key"].rpartition(":")[2] for row in rows] == ["core", "intro", "outro"]
    assert [row["parent_song_id"] for row in rows[1:]] == [row["song_id"] for row in rows[:2]]


def test_songs_are_listed_in_every_format(shell: Any, gateways: Any, to: Any) -> None:
    """A table for people; every column in JSON, CSV and Parquet, on stdout or in a file."""
    assert shell.run("generate", "a waltz", "--seed", "3", *to(gateways())).code == 0
    table = shell.run("songs")
    assert table.code == 0
    heading, *rows = table.out.splitlines()
    assert heading.split()[:4] == ["title", "mode", "depth", "length"]
    assert len(rows) == 2
    assert all(row.rstrip().endswith(".mp3") for row in rows)
    records = json.loads(shell.run("songs", "--format", "json").stdout)
    assert shell.run("songs", "--json").json == {"songs": records}
    assert [list(record) for record in records] == [list(COLUMNS)] * 2
    csv = pd.read_csv(io.BytesIO(shell.run("songs", "--format", "csv").stdout))
    parquet = pd.read_parquet(io.BytesIO(shell.run("songs", "--format", "parquet").stdout))
    assert list(csv.columns) == list(parquet.columns) == list(COLUMNS)
    assert csv["sha256"].tolist() == parquet["sha256"].tolist() == [record["sha256"] for record in records]
    some = shell.run(
        "songs", "--where", "take == 1 and `request.seed` == 3", "-o", "some.parquet", "--format", "parquet"
    )
    assert (some.code, some.out) == (0, "")
    assert pd.read_parquet(shell.folder / "some.parquet")["take"].tolist() == [1]


def test_bad_options_of_songs_are_bad_input(shell: Any) -> None:
    """One object, and nothing is created."""
    run = shell.run("songs", "--where", "@__import__('os')", "--json")
    assert run.code == 2
    assert "cannot be read" in run.json["error"]
    assert not shell.library.exists()


def test_listing_a_missing_library_creates_none(shell: Any) -> None:
    """Exit 0, no rows, and a hint how to make songs."""
    run = shell.run("songs", "--json")
    assert (run.code, run.json) == (0, {"songs": []})
    assert "There is no library at" in run.err
    assert not shell.library.exists()
    empty = shell.run("songs", "--format", "csv", "--library", "n" * 300)
    assert (empty.code, empty.out.strip().split(",")) == (0, list(COLUMNS))


def test_a_closed_pipe_ends_the_command_quietly(shell: Any) -> None:
    """As `songflow songs | head` does."""
    process = shell.start("songs", "--format", "csv")
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate()
    assert process.returncode in {0, 1}
    assert b"Traceback" not in err
    assert b"Exception ignored" not in err


def test_simulate_runs_until_ctrl_c(shell: Any) -> None:
    """It prints its address, serves, bills, stores its state, and exits with 0."""
    (shell.folder / "faults.json").write_text('[{"fault": "quota_not_enough"}]')
    process = shell.start(
        *("simulate", "--port", "0", "--speed", "500", "--clip-seconds", "2", "--takes", "1", "--json"),
        *("--state", "state", "--faults", "faults.json", "--accept-key", shell.key),
    )
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]
    assert httpx.get(f"{url}/_simulator/health").json()["simulation"] is True
    options = ["--gateway", "simulator", "--base-url", url, "--poll-interval", "0.1", "--json"]
    keyed = {"SONGFLOW_API_KEY": shell.key}
    assert shell.run("generate", "x", *options, env=keyed).code == 3
    assert shell.run("generate", "x", *options, env={"SONGFLOW_API_KEY": "another"}).code == 3
    assert shell.run("generate", "x", *options, env=keyed).code == 0
    process.send_signal(signal.SIGINT)
    run = shell.end(process)
    assert (run.code, run.out) == (0, "")
    assert "Ctrl-C ends it" in run.err
    assert (shell.folder / "state" / "simulator.sqlite").is_file()


def test_an_invalid_simulator_says_why(shell: Any) -> None:
    """Exit 2, one object."""
    (shell.folder / "bad.json").write_text('[{"fault": "sharks"}]')
    run = shell.run("simulate", "--faults", "bad.json", "--json")
    assert run.code == 2
    assert "no fault 'sharks' on any stage" in run.json["error"]


def test_a_port_in_use_is_named(shell: Any, gateways: Any) -> None:
    """With what to do instead."""
    port = gateways().url.rpartition(":")[2]
    run = shell.run("simulate", "--port", port, "--json")
    assert run.code == 2
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in run.json["error"]
    assert "--port (0 takes a free one)" in run.json["next"]


def test_help_names_every_command_and_option(shell: Any) -> None:
    """On stdout, with exit 0; so does the command without arguments."""
    every = shell.run("--help")
    assert every.code == 0
    assert all(name in every.out for name in ("demo", "generate", "songs", "simulate"))
    assert shell.run().out == every.out
    generate = shell.run("generate", "--help")
    assert generate.code == 0
    for option in (
        *("--lyrics", "--lyrics-file", "--instrumental", "--model", "--seed", "--negative-prompt"),
        *("--prompt-strength", "--clarity-strength", "--lyrics-strength", "--quality", "--section-start"),
        *("--section-end", "--lyrics-start", "--lyrics-end", "--raw-prompt", "--key", "--retries"),
        *("--if-unsettled", "--gateway", "--base-url", "--credentials", "--library", "--poll-interval"),
        *("--deadline", "--json"),
    ):
        assert f"{option} " in generate.out


def test_python_m_cli_is_the_same_command(shell: Any) -> None:
    """For users without the script on their path."""
    import sys

    found = subprocess.run(
        [sys.executable, "-m", "cli", "--version"], capture_output=True, check=True, cwd=shell.folder
    )
    assert found.stdout == b"0.1.0\n"
