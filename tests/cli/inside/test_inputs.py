"""Many bad inputs, and what a command line means: quick, since no process is started."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cli.app
from cli.flow_calls import extension_placement
from cli.options import Common, Gateway, Paying, Waiting
from songflow.errors import OutcomeUnknown, StillRunning
from songflow.families.registry import extension_request, models
from songflow.families.udio import SongRequest
from songflow.runtime.programs import as_typed

Call = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x", "y"], "Too many arguments: 'y' (put a text of several words in quotes)"),
        (["x", "--lyrics", "- la"], "--lyrics requires an argument"),
        (["-soft piano"], "Unknown option: -soft piano"),
        (["x", "--gateway", "suno"], 'Invalid value "suno" for --gateway'),
        (["x", "--lyrics", "la", "--lyrics-file", "/dev/null"], "--lyrics and --lyrics-file were both given"),
        (
            ["x", "--quality", "0.3", "--model", "x"],
            f"model_type is 'x': allowed are {', '.join(models())}; generation_quality is 0.3",
        ),
        (["x", "--seed", "abc"], 'unable to convert "abc" into int'),
        (["x", "--seed", "99999999999999999999"], "seed is 99999999999999999999: allowed is -1"),
        (["x", "--poll-interval", "0"], "--poll-interval is 0: allowed are 0.05 to 604800 seconds"),
        (["x", "--deadline", "-1"], "--deadline is -1: allowed are 0 to 604800 seconds"),
        (["x", "--deadline", "nan"], "--deadline is nan: allowed are 0 to 604800 seconds"),
        (["x", "--retries", "-1"], "--retries is -1: allowed are 0 to 100"),
        (["x", "--key", " "], "--key must be a printable text of 1 to 255 characters"),
        (["x", "--key", "k" * 256], "--key must be a printable text of 1 to 255 characters"),
        (["x", "--key", "a\nb"], "--key must be a printable text of 1 to 255 characters"),
        (["x", "--if-unsettled", "maybe"], 'Choose from: "stop", "new"'),
        (
            ["x", "--credentials", "b", "--gateway", "cometapi"],
            "--credentials names the gateway and its address",
        ),
        (["x", "--shape", "B"], "--submit-path, --fetch-path and --shape belong to --gateway custom"),
        (["x", "--gateway", "custom"], "a custom gateway needs a base URL"),
        (["x", "--gateway", "cometapi", "--base-url", "ftp://x"], "The gateway cannot be used"),
        (["x", "--lyrics-file", "\udcff"], "cannot be read"),
        (["\udcff"], "prompt is '\\udcff'"),
        (["x", "--lyrics", ""], "lyrics is required with lyrics_type user"),
        (["x", "--lyrics-file", "/dev/null"], "lyrics is required with lyrics_type user"),
        (["x", "--lyrics-file", "bom.txt"], "lyrics is required with lyrics_type user"),
        (["x", "--lyrics-file", "utf16.txt"], "it is not UTF-8 text (UTF-16: save it as UTF-8)"),
        ([" "], "prompt is ' ': allowed is a text that is not blank"),
        (["x", "--library", "~nobody-has-this-name/x"], "cannot be used"),
    ],
    ids=lambda value: (
        " ".join(value).encode("ascii", "backslashreplace").decode()[:40] if isinstance(value, list) else ""
    ),
)
def test_bad_input_is_reported_in_one_object(
    call: Call, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    """Exit 2, the same on stdout and stderr, and nothing is created."""
    monkeypatch.setenv("COMETAPI_KEY", "sk-0123456789abcdef")
    monkeypatch.setenv("SONGFLOW_API_KEY", "sk-0123456789abcdef")
    Path("bom.txt").write_text("\ufeff\n", encoding="utf-8")
    Path("utf16.txt").write_text("la", encoding="utf-16")
    code, out, err = call("generate", "--json", *arguments)
    assert code == 2
    assert words in json.loads(out)["error"]
    assert err.rstrip().count("songflow: ") == 1
    assert not Path("songs").exists()


@pytest.mark.parametrize("arguments", [["extend"], ["nope"], ["generate", "x", "--bogus", "1"]])
def test_without_json_stdout_stays_empty(call: Call, arguments: list[str]) -> None:
    """Failures are on stderr, with what to do next."""
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert as_typed("Next: see `songflow --help`; nothing was sent.") in err


def test_a_prompt_called_json_is_a_prompt(call: Call) -> None:
    """Arguments after `--` are not options."""
    code, out, _ = call("generate", "--seed", "-9", "--", "--json")
    assert (code, out) == (2, "")


def test_the_version_is_printed(call: Call) -> None:
    """Exit 0."""
    assert call("--version")[:2] == (0, "0.1.0\n")


def test_lyrics_come_from_stdin(call: Call, monkeypatch: pytest.MonkeyPatch, gateways: Any, to: Any) -> None:
    """`--lyrics-file -`."""
    server = gateways(takes=1)
    monkeypatch.setenv("COMETAPI_KEY", "sk-0123456789abcdef")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("Wörter".encode()), encoding="ascii"))
    code, out, _ = call("generate", "x", "--lyrics-file", "-", *to(server))
    assert code == 0
    assert server.bill()[0].body["gen_params"]["lyrics"] == "Wörter"
    assert len(json.loads(out)["songs"]) == 1


@pytest.mark.parametrize("written", ["\ufeffla\nlo\n", "la\r\nlo\r\n", "la \rlo\t\n"], ids=ascii)
def test_texts_are_sent_as_if_every_editor_wrote_them_alike(
    call: Call, monkeypatch: pytest.MonkeyPatch, gateways: Any, to: Any, written: str
) -> None:
    """From a file, from stdin, and from `"$(cat FILE)"`, which keeps blanks that were typed."""
    server = gateways(takes=1)
    monkeypatch.setenv("COMETAPI_KEY", "sk-0123456789abcdef")
    Path("words.txt").write_bytes(written.encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(written.encode()), encoding="ascii"))
    for number, source in enumerate(("words.txt", "-")):
        assert call("generate", f"{number}", "--lyrics-file", source, *to(server))[0] == 0
    assert call("generate", "\ufeffa\r\nb", "--negative-prompt", "\ufeffc ", *to(server))[0] == 0
    *from_files, typed = [job.body["gen_params"] for job in server.bill()]
    assert [params["lyrics"] for params in from_files] == ["la\nlo\n"] * 2
    assert (typed["prompt"], typed["negative_prompt"]) == ("a\nb", "c ")


def test_a_closed_stdin_has_no_lyrics(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """`<&-`: nothing was sent."""
    monkeypatch.setattr(sys, "stdin", None)
    code, out, _ = call("generate", "x", "--lyrics-file", "-", "--json")
    assert (code, json.loads(out)["billed"]) == (2, "no")
    assert "stdin is closed" in out


def test_a_custom_gateway_is_an_address_two_paths_and_a_shape(
    call: Call, gateways: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its key is in SONGFLOW_API_KEY."""
    server = gateways(takes=1)
    paths = ["--submit-path", "/shape-d/submit", "--fetch-path", "/shape-d/fetch/{id}", "--shape", "D"]
    custom = ["--gateway", "custom", "--base-url", server.url, *paths]
    monkeypatch.setenv("SONGFLOW_API_KEY", "sk-0123456789abcdef")
    assert call("generate", "x", *custom, "--poll-interval", "0.1", "--json")[0] == 0
    assert server.bill()[0].dialect == "shape-d"


def test_the_simulator_is_the_default_and_says_so_if_a_key_is_set(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key in the environment does not choose its gateway: spending needs an explicit option."""
    monkeypatch.setenv("COMETAPI_KEY", "sk-0123456789abcdef")
    code, out, err = call("generate", "x", "--deadline", "0", "--json")
    assert code == 5
    assert json.loads(out)["billed"] == "yes"
    assert "COMETAPI_KEY is set, but no --gateway was given" in err
    assert "Using the built-in simulator" in err


def test_an_empty_library_is_refused(call: Call) -> None:
    """`--library "$UNSET"` would be the current folder, with another ledger and budget."""
    code, out, _ = call("generate", "x", "--library", "", "--json")
    assert (code, json.loads(out)["billed"]) == (2, "no")
    assert "--library" in json.loads(out)["error"]


def test_sections_are_left_to_the_model(
    call: Call, monkeypatch: pytest.MonkeyPatch, gateways: Any, to: Any
) -> None:
    """By --section-start auto and --section-end auto, for a new song and for an extension."""
    monkeypatch.setenv("COMETAPI_KEY", "sk-0123456789abcdef")
    server = gateways(takes=1)
    auto = ("--section-start", "auto", "--section-end", "auto")
    code, out, _ = call("generate", "x", *auto, *to(server))
    assert code == 0
    song = json.loads(out)["songs"][0]["song_id"]
    assert call("extend", song, "--mode", "precede", *auto, *to(server))[0] == 0
    for job in server.bill():
        assert not {"song_section_start", "song_section_end"} & job.body["gen_params"].keys()
    code, out, _ = call("generate", "x", "--section-start", "often", "--json")
    assert (code, json.loads(out)["billed"]) == (2, "no")
    assert '"often"' in json.loads(out)["error"]


def test_a_flow_run_leaves_to_the_model_what_the_request_does() -> None:
    """An empty parameter of extend-song is that of the place or of the source."""
    request = SongRequest.parse(
        {"prompt": "a", "mode": "precede", "source_song_id": "s", "song_section_start": None}
    )
    placement = extension_placement(request.model_dump(mode="json"))
    given = {**placement.given(), "prompt": "a"}
    assert extension_request(None, "s", mode=given.pop("mode"), overrides=given) == request


def test_options_check_themselves() -> None:
    """Defaults are valid."""
    Paying().check()
    Waiting().check()
    Gateway().check()
    assert Common().library_settings().folder.name == "songs"
    assert StillRunning.exit_code == OutcomeUnknown.exit_code == 5


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_the_overview_describes_each_command(call: Call, arguments: tuple[str, ...]) -> None:
    """A line for each; a command's own help is its docstring."""
    _, out, _ = call(*arguments)
    rows = [line.strip("│ ").split(maxsplit=1) for line in out.splitlines() if line.startswith("│")]
    rows_by_name = {row[0]: row[1:] for row in rows if not row[0].startswith("-")}
    assert set(rows_by_name) == set(cli.app.app) - {"--help", "-h", "--version"}
    assert all(rows_by_name.values()), rows_by_name
    _, out, _ = call("rate", "--help")
    assert "new ones replace the" in out
