"""With Prefect or without: which server a command finds, and whether it is used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.not_prefect import ANSWERS, http, listening

import cli.prefect_mode
from cli.prefect_mode import configured_server, use_prefect

Call = Callable[..., tuple[int, str, str]]


async def test_without_a_server_configured_there_is_no_flow_run() -> None:
    """Plain Python does not start a server."""
    assert configured_server() is None
    assert await use_prefect() is False


async def test_a_server_that_answers_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names it; `SONGFLOW_PREFECT=off` disables it."""
    monkeypatch.setattr(cli.prefect_mode, "load_prefect", lambda: None)
    with listening(lambda _: http(200, "true")) as (url, asked):
        monkeypatch.setenv("PREFECT_API_URL", f"{url}/api")
        assert await use_prefect() is True
        assert asked == ["/api/health", "/api/admin/version"]
        monkeypatch.setenv("SONGFLOW_PREFECT", "off")
        assert await use_prefect() is False


async def test_a_server_that_does_not_answer_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With a warning; the ledger records everything either way."""
    for url in ("http://127.0.0.1:1/api", "https://songs.invalid/api", "http://songs.invalid/api"):
        monkeypatch.setenv("PREFECT_API_URL", url)
        assert await use_prefect() is False
        assert f"The Prefect server at {url} does not answer: running without it" in caplog.text


async def test_a_port_that_is_no_prefect_server_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it answers, within two seconds and with one line."""
    for kind, answer in ANSWERS.items():
        with listening(answer) as (url, asked):
            monkeypatch.setenv("PREFECT_API_URL", f"{url.replace('//', '//me:pa55word@')}/api/")
            caplog.clear()
            assert await use_prefect() is False, kind
            [line] = caplog.messages
            assert line.startswith(f"The Prefect server at {url}/api/ "), line
            assert ("PREFECT_API_AUTH_STRING" in line) == (kind == "a password")
            assert asked[0] == "/api/health"


async def test_a_servers_password_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From the environment or from the profile, as Prefect would."""
    given: list[str] = []

    def answer(head: str) -> bytes:
        given.extend(line for line in head.splitlines() if line.lower().startswith("authorization"))
        return http(200, "true")

    with listening(answer, whole_head=True) as (url, _):
        (tmp_path / "prefect").mkdir()
        profile = f'active = "a"\n[profiles.a]\nPREFECT_API_URL = "{url}/api"\nPREFECT_API_AUTH_STRING = "admin:x"\n'
        (tmp_path / "prefect" / "profiles.toml").write_text(profile)
        for variable, value in (
            ("PREFECT_HOME", str(tmp_path / "prefect")),
            ("PREFECT_API_AUTH_STRING", "admin:y"),
        ):
            monkeypatch.setenv(variable, value)
            server = configured_server()
            assert server is not None
            assert "admin" not in repr(server)
            assert await cli.prefect_mode.trouble_with(server) is None
    assert [line.split()[-1] for line in given[::2]] == ["YWRtaW46eA==", "YWRtaW46eQ=="]


async def test_an_address_without_api_is_answered_with_the_one_that_was_meant() -> None:
    """Prefect's pages answer there; its API is below."""

    def answer(path: str) -> bytes:
        return http(200, "true" if path == "/api/health" else "<html>Prefect</html>")

    with listening(answer) as (url, _):
        trouble = await cli.prefect_mode.trouble_with(cli.prefect_mode.PrefectServer(url))
    assert trouble == f"is no Prefect server (HTTP 200); did you mean {url}/api?"


def test_doctor_asks_the_address_that_is_given(call: Call) -> None:
    """Of the gateway that is named, whether its key is set or not."""
    with listening(lambda _: http(404)) as (url, _):
        answer = call("doctor", "--gateway", "cometapi", "--base-url", url, "--json")
    [check] = [one for one in json.loads(answer[1])["checks"] if one["part"] == "gateway cometapi"]
    assert check["said"].startswith(f"{url} answers (HTTP 404)")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ('active = "a"\n[profiles.a]\nPREFECT_API_URL = "http://a/api"\n', "http://a/api"),
        ('active = "b"\n[profiles.a]\nPREFECT_API_URL = "http://a/api"\n', None),
        ('active = "a"\n[profiles]\na = 3\n', None),
        ("not toml", None),
        ("", None),
    ],
)
def test_the_active_profile_names_the_server(tmp_path: Path, text: str, url: str | None) -> None:
    """As Prefect itself would read it; a broken file names none."""
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect" / "profiles.toml").write_text(text)
    found = configured_server()
    assert (found and found.url) == url
