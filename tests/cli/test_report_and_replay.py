"""`songflow doctor --report` and `songflow simulate --replay`: what a gateway answered becomes a test in one step."""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import ValidationError

from cli.main import run
from deployments.health import Check, good
from songflow.runtime.programs import typed_program
from songflow.simulator import Replay, SimulatorServer

KEY = "sk-never/Show+me=0123456789abcdef"
Call = Callable[..., tuple[int, dict[str, Any]]]

FAULTS: dict[str, list[dict[str, Any]]] = {
    "two songs": [],
    "an id in a place of its own": [{"fault": "odd_id", "form": "task_id"}],
    "an id that is a number": [{"fault": "odd_id", "form": "number"}],
    "a page": [{"fault": "html", "on": "submit", "status": 502}],
    "a refusal with 200": [{"fault": "refusal_in_2xx", "code": "quota_not_enough"}],
    "no channel": [{"fault": "no_channel", "language": "zh", "times": None}],
    "a lost answer": [{"fault": "lost_answer"}],
    "moderated": [{"fault": "moderated"}],
    "one take fails": [{"fault": "one_take_fails"}],
    "an address without scheme": [{"fault": "odd_address", "form": "no_scheme"}],
    "an address that is a path": [{"fault": "odd_address", "form": "path"}],
    "raw bytes": [{"fault": "non_utf8"}],
    "an unknown word until the deadline": [{"fault": "status_word", "word": "PENDING_REVIEW", "times": None}],
    "a page for ever": [{"fault": "html", "on": "fetch", "times": None}],
}


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Isolate the test from the machine's configuration and files."""
    for name in (
        "PREFECT_API_URL",
        "PREFECT_PROFILE",
        "OPENAI_HK_KEY",
        "SONGFLOW_API_KEY",
        "SONGFLOW_LIBRARY",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("SONGFLOW_PREFECT", "off")
    monkeypatch.setenv("COMETAPI_KEY", KEY)
    monkeypatch.chdir(tmp_path)

    async def not_asked(part: str, _base_url: str) -> Check:
        return good(part, "no test contacts a real gateway.")

    monkeypatch.setattr("deployments.doctor.reachable", not_asked)


@pytest.fixture
def call(capfdbinary: pytest.CaptureFixture[bytes]) -> Call:
    """Run a command here; its exit code and its JSON."""

    def invoke(*arguments: str) -> tuple[int, dict[str, Any]]:
        code = run([*arguments, "--json"])
        return code, json.loads(capfdbinary.readouterr().out)

    return invoke


@pytest.fixture
def replayed(gateways: Any) -> Callable[[Path], SimulatorServer]:
    """Starts simulators that play reports back."""
    return lambda report: gateways(replay=Replay.load(report), clip_seconds=2.0)


def told(code: int, answer: dict[str, Any]) -> dict[str, Any]:
    """What a command reports that does not differ from library to library."""
    songs = [(one["song_id"], one["title"], one["path"] is not None) for one in answer.get("songs", ())]
    error = answer.get("error")
    facts = {name: answer.get(name) for name in ("state", "billed", "generation_id")}
    return {"code": code, "error": error and error.split("127.0.0.1")[0], "songs": songs, **facts}


@pytest.mark.parametrize("name", FAULTS)
def test_a_report_plays_back_what_the_gateway_did(
    call: Call, gateways: Any, replayed: Any, name: str
) -> None:
    """The same command ends in the same way: exit code, state, error, ids and songs."""
    server = gateways(*FAULTS[name])

    def make(url: str, library: str) -> dict[str, Any]:
        options = ("--gateway", "cometapi", "--base-url", url, "--poll-interval", "0.05", "--deadline", "0.5")
        return told(*call("generate", "a waltz", *options, "--retries", "0", "--library", library))

    first = make(server.url, "real")
    code, answer = call("doctor", "--report", "-o", "report.json", "--library", "real")
    assert (code, answer["report"]) == (0, str(Path("report.json").absolute()))
    replay = replayed(Path("report.json"))
    assert make(replay.url, "again") == first
    assert KEY not in Path("report.json").read_text()


def test_a_report_of_a_gateway_that_echoes_the_key_does_not_hold_it(call: Call, gateways: Any) -> None:
    """Not in base64 behind other text either, and neither does the ledger."""
    basic = base64.b64encode(f"user:{KEY}".encode()).decode()
    said = {
        "message": f"{KEY} {quote(KEY, safe='')} {basic}",
        "data": None,
        "code": "x",
        "raw": KEY.encode().hex(),
    }
    server = gateways(
        {"fault": "status", "on": "submit", "status": 400, "body": said, "headers": {"Location": basic}}
    )
    options = ("--gateway", "cometapi", "--base-url", server.url, "--library", "real")
    assert call("generate", "a waltz", *options)[0] in (3, 5)
    assert call("doctor", "--report", "-o", "report.json", "--library", "real")[0] == 0
    kept = Path("report.json").read_bytes() + Path("real/ledger.sqlite").read_bytes()
    kept += b"".join(path.read_bytes() for path in Path("real").rglob("*.jsonl"))
    kept += b"".join(path.read_bytes() for path in Path("real").glob("ledger.sqlite-*"))
    for part in (KEY, quote(KEY, safe=""), KEY.encode().hex(), basic[8:-4]):
        assert part.encode() not in kept, part


def test_a_set_up_without_a_library_has_a_report(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a new file here; nothing is made, and a report of nothing cannot be played back."""
    code, answer = call("doctor", "--report")
    assert code == 0
    report = Path(answer["report"])
    assert report.parent == Path.cwd()
    found = json.loads(report.read_text())
    assert (found["generations"], found["settings"]["COMETAPI_KEY"]) == ([], f"(set, {len(KEY)} characters)")
    assert not Path("songs").exists()
    with pytest.raises(ValidationError):
        Replay.load(report)
    code, answer = call("simulate", "--replay", str(report))
    assert code == 2
    assert "is no report that can be played back: generations" in answer["error"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("doctor", "-o", "x.json"), "--output belongs to --report"),
        (("doctor", "--report", "-o", "none/x.json"), "none/x.json cannot be written"),
        (
            ("doctor", "--report", "--spend", "--yes", "-o", "text.json"),
            "text.json cannot be written: File exists",
        ),
        (("simulate", "--replay", "none.json"), "none.json cannot be read: No such file"),
        (("simulate", "--replay", "text.json"), "text.json is no report that can be played back"),
        (
            ("simulate", "--replay", "text.json", "--faults", "x.json"),
            "--replay takes no --faults and no --state",
        ),
    ],
)
def test_a_report_that_cannot_be_is_bad_input(call: Call, arguments: tuple[str, ...], words: str) -> None:
    """Exit 2, one sentence."""
    Path("text.json").write_text("no JSON")
    code, answer = call(*arguments)
    assert (code, words in answer["error"]) == (2, True), answer


def test_for_people_the_report_is_named_with_what_it_holds(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--report", "-o", "report.json"]) == 0
    shown = capfd.readouterr().out
    assert "Wrote report.json. It has no key, but titles, lyrics and addresses" in shown


def test_the_replay_names_a_command_that_asks_it(
    call: Call, gateways: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a custom gateway with its paths and shape."""
    server = gateways(takes=1)
    monkeypatch.setenv("SONGFLOW_API_KEY", KEY)
    paths = ("--submit-path", "/shape-d/submit", "--fetch-path", "/shape-d/fetch/{id}", "--shape", "D")
    custom = (
        "--gateway",
        "custom",
        "--base-url",
        server.url,
        *paths,
        "--poll-interval",
        "0.05",
        "--library",
        "real",
    )
    assert call("generate", "a waltz", *custom)[0] == 0
    call("doctor", "--report", "-o", "report.json", "--library", "real")

    def ended(_settings: Any, _host: str, _port: int, ready: Callable[[str], None]) -> None:
        ready("http://h:1")

    monkeypatch.setattr("songflow.simulator.server.serve", ended)
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    assert run(["simulate", "--replay", "report.json"]) == 0
    assert (
        f"SONGFLOW_API_KEY=any {typed_program('songflow')} generate 'a waltz' --gateway custom --base-url http://h:1"
        in shown.getvalue()
    )
    assert (
        "--fetch-path '/shape-d/fetch/{id}' --shape 'D' --submit-path '/shape-d/submit'" in shown.getvalue()
    )
