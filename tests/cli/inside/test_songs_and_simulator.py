"""`songflow songs`, `simulate` and `demo`: what they print and write."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cli.app
from cli.output import Output
from songflow.generation.results import GenerationResult, SongResult
from songflow.generation.session_settings import SessionSettings
from songflow.runtime.programs import typed_program

Call = Callable[..., tuple[int, str, str]]


def test_a_song_without_title_or_length_has_a_line(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Gateways may leave fields out."""
    takes = (
        SongResult(None, None, None, None, None, "gone"),
        SongResult("id", None, None, "/x.mp3", "0", None),
        SongResult("id", "a\x1b[31m\nb\u202e", 2.0, "/y.mp3", "0", None),
    )
    Output().result(GenerationResult("k", "g", "succeeded", "yes", 1.0, takes), "units")
    out = capfdbinary.readouterr().out.decode()
    assert out.splitlines()[:3] == ["- a take: gone", "+ id  /x.mp3", "+ a[31m b (2.0 s)  /y.mp3"]


async def test_a_terminal_shows_a_live_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The word, the share and the time; quiet shows nothing."""
    output = Output()
    monkeypatch.setattr(type(output.err), "is_terminal", property(lambda _: True))
    for shown in (output, Output(quiet=True)):
        with shown.waiting("a waltz") as progress:
            await progress("running", 0.5, 3.0)
            await progress("running", None, 4.0)
    Output(quiet=True).say("nothing")
    cli.app.stop_logging()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--where", "swing > 3"], "which is not a column"),
        (["--format", "xml"], "--format"),
        (["--output", "missing/songs.csv"], "missing/songs.csv cannot be written: No such file or directory"),
    ],
)
def test_bad_options_of_songs_are_reported(call: Call, options: list[str], words: str) -> None:
    """Exit 2, one object."""
    code, out, _ = call("songs", *options, "--json")
    assert code == 2
    assert words in json.loads(out)["error"]


def test_songs_go_to_a_file(
    call: Call, monkeypatch: pytest.MonkeyPatch, gateways: Any, to: Any, tmp_path: Path
) -> None:
    """A table becomes CSV there; with JSON the answer is on stdout as well; a terminal gets no Parquet."""
    monkeypatch.setenv("COMETAPI_KEY", "sk-0123456789abcdef")
    assert call("generate", "x", *to(gateways(takes=1)))[0] == 0
    code, out, err = call("songs", "-o", "songs.csv")
    assert (code, out) == (0, "")
    assert "Wrote 1 rows to songs.csv." in err
    table = (tmp_path / "songs.csv").read_text()
    assert table == call("songs", "--format", "csv")[1]
    code, out, _ = call("songs", "-o", "songs.json", "--format", "json", "--json")
    assert json.loads(out) == {"songs": json.loads((tmp_path / "songs.json").read_text())}
    assert len(call("songs", "--where", "depth == 0")[1].splitlines()) == 2
    assert call("export", "-o", "out")[0] == 0
    assert Path("out/manifest.csv").read_text() == table
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "Parquet is not for a terminal" in call("songs", "--format", "parquet")[2]


def test_no_csv_runs_in_a_spreadsheet(
    call: Call, monkeypatch: pytest.MonkeyPatch, gateways: Any, to: Any
) -> None:
    """Of `songs`, of an export and of a report; each can leave the texts as they are."""
    monkeypatch.setenv("COMETAPI_KEY", "sk-0123456789abcdef")
    server = gateways(takes=1)
    assert call("generate", '=HYPERLINK("http://x")', "--lyrics=- la\r- lo", *to(server))[0] == 0
    for option, prompt in ((), "'="), (("--no-formula-guard",), "="):
        call("songs", "-o", "songs.csv", *option)
        call("export", "-o", "out", "--force", *option)
        call("sweep", "report", "-o", "report", *option)
        for table in ("songs.csv", "out/manifest.csv", "report/songs.csv"):
            [row] = csv.DictReader(io.StringIO(Path(table).read_text(), newline=""))
            assert row["request.prompt"] == f'{prompt}HYPERLINK("http://x")', table


def test_a_missing_library_has_no_songs(call: Call) -> None:
    """Even if its name cannot be that of a folder."""
    assert json.loads(call("songs", "--json")[1]) == {"songs": []}
    assert json.loads(call("songs", "--json", "--library", "n" * 300)[1]) == {"songs": []}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--faults", "broken.json"], "cannot be set up: Invalid JSON"),
        (["--faults", "missing.json"], "missing.json cannot be read: No such file or directory"),
        (["--clip-seconds", "0"], "clip_seconds: Input should be greater than 0"),
        (["--port", "70000"], "--port is 70000: allowed are 0 (takes a free one) to 65535"),
        (["--port", "0", "--state", "broken.json"], "broken.json cannot be used"),
        (["--port", "0", "--host", "nowhere.invalid"], "cannot listen on nowhere.invalid:0"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_invalid_options_of_the_simulator_are_reported(call: Call, options: list[str], words: str) -> None:
    """Exit 2, one object."""
    Path("broken.json").write_bytes(b"[{")
    code, out, _ = call("simulate", *options, "--json")
    assert code == 2
    assert words in json.loads(out)["error"]


@pytest.mark.parametrize("as_json", [True, False])
def test_the_simulator_prints_its_address(call: Call, monkeypatch: pytest.MonkeyPatch, as_json: bool) -> None:
    """As JSON if requested, else with an example."""

    def serve(_settings: object, _host: str, _port: int, ready: Callable[[str], None]) -> None:
        ready("http://127.0.0.1:9")

    monkeypatch.setattr("songflow.simulator.server.serve", serve)
    code, out, err = call("simulate", *(["--json"] if as_json else []))
    assert (code, out) == (0, '{"url": "http://127.0.0.1:9"}\n' if as_json else "")
    assert (
        f"COMETAPI_KEY=any {typed_program('songflow')} generate 'a waltz' --gateway cometapi "
        "--base-url http://127.0.0.1:9" in err
    )


def test_the_demo_shows_its_rows_and_where_to_listen(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """As text: a table of the three steps, and the file of the whole song."""
    from cli import demo

    def short(**settings: Any) -> SessionSettings:
        return SessionSettings(**{**settings, "embedded_speed": 500.0, "clip_seconds": 2.0})

    monkeypatch.setattr(demo, "SessionSettings", short)
    code, out, _ = call("demo")
    assert code == 0
    assert [line.split("simulated) ")[-1].split()[0] for line in out.splitlines()[1:7:2]] == [
        "regular", "precede", "continuation",
    ]  # fmt: skip
    assert "The whole song (simulated, 6 s): /" in out
    assert "Open it in any player" in out
