"""`songflow doctor --spend` at every gateway: one song at a stated price, whose answers become a report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cli.doctor
from cli.main import run
from cli.options import Waiting
from deployments.health import Check, good
from songflow.gateways import DIALECTS
from songflow.simulator import Replay

KEY = "sk-never/Show+me=0123456789abcdef"
GATEWAYS = [name for name in DIALECTS.ours if name != "simulator"]
Call = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Isolate the test from the machine's configuration, and poll a simulator more often than a gateway."""
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "SONGFLOW_API_KEY", "SONGFLOW_LIBRARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("SONGFLOW_PREFECT", "off")
    for gateway in GATEWAYS:
        monkeypatch.setenv(DIALECTS[gateway].key_variable, KEY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.doctor, "Waiting", lambda: Waiting(poll_interval=0.05))

    async def not_asked(part: str, _base_url: str) -> Check:
        return good(part, "no test contacts a real gateway.")

    monkeypatch.setattr("deployments.doctor.reachable", not_asked)


@pytest.fixture
def spend(capfdbinary: pytest.CaptureFixture[bytes]) -> Call:
    """Run the command here; its exit code, its JSON, and stderr."""

    def invoke(gateway: str, url: str, *arguments: str) -> tuple[int, dict[str, Any], str]:
        code = run(["doctor", "--spend", "--gateway", gateway, "--base-url", url, *arguments, "--json"])
        out, err = capfdbinary.readouterr()
        assert KEY.encode() not in out + err
        return code, json.loads(out), err.decode()

    return invoke


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_one_song_at_a_stated_price_and_a_report_of_its_answers(
    spend: Call, gateways: Any, gateway: str
) -> None:
    """Not without a yes; the report plays back, and has no key."""
    server = gateways(takes=1, pool=1)
    code, answer, _ = spend(gateway, server.url)
    assert (code, answer["billed"], server.bill()) == (2, "no", [])
    assert f"at {gateway} ({server.url})" in answer["error"]
    code, made, said = spend(gateway, server.url, "--yes", "--report", "-o", "song.json")
    (paid,) = server.bill()
    assert (code, made["state"], made["price"]) == (0, "succeeded", paid.price), said
    assert f"costs {paid.price} unit" in said
    text = Path("song.json").read_text()
    report = json.loads(text)
    (generation,) = report["generations"]
    assert (generation["gateway"], generation["generation_id"]) == (gateway, made["generation_id"])
    assert {one["kind"] for one in generation["answers"]} >= {"submit", "fetch"}
    assert made["report"] == str(Path("song.json").absolute())
    assert KEY not in text
    assert Replay.load(Path("song.json")).generations[0].gateway == gateway


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"fault": "non_json_2xx", "body": "queued as something new"}, 5),
        ({"fault": "status", "on": "submit", "status": 403, "message": f"no {KEY} here"}, 3),
        ({"fault": "moderated"}, 4),
    ],
)
def test_the_report_is_written_if_the_song_fails(
    spend: Call, gateways: Any, fault: dict[str, Any], code: int
) -> None:
    """It is what somebody needs who looks for the reason."""
    server = gateways(fault)
    ended, answer, _ = spend(GATEWAYS[0], server.url, "--yes", "--report", "-o", "song.json")
    assert (ended, answer["report"]) == (code, str(Path("song.json").absolute()))
    text = Path("song.json").read_text()
    (generation,) = json.loads(text)["generations"]
    assert generation["answers"][0]["kind"] == "submit"
    assert KEY not in text
    assert "queued as something new" in text or "non_json" not in fault["fault"]


def test_people_are_told_where_the_report_is(gateways: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """And what to do before they send it."""
    server = gateways(takes=1, pool=1)
    arguments = ("--gateway", GATEWAYS[0], "--base-url", server.url, "--yes", "--report", "-o", "song.json")
    assert run(["doctor", "--spend", *arguments]) == 0
    assert "Wrote song.json. It has no key" in capfd.readouterr().out
