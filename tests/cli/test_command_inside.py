"""The command in this process: cases that a subprocess cannot show, and many bad inputs, which are quick here."""

from __future__ import annotations

import csv
import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rich.console
from support.not_prefect import ANSWERS, http, listening

import cli.app
import cli.main
import cli.paid_command
import cli.prefect_mode
import cli.sweep
from cli.flow_calls import extension_placement
from cli.main import run
from cli.options import Common, Gateway, Paying, Waiting
from cli.output import Output
from cli.paid_command import named
from cli.prefect_mode import configured_server, use_prefect
from songflow.errors import InputError, KeyConflict, OutcomeUnknown, StillRunning
from songflow.families.registry import extension_request, models
from songflow.families.udio import SongRequest
from songflow.generation.results import GenerationResult, SongResult
from songflow.generation.session_settings import SessionSettings
from songflow.runtime.programs import as_typed, typed_program

Call = Callable[..., tuple[int, str, str]]
PREFECT = (
    "PREFECT_API_URL",
    "PREFECT_PROFILE",
    "PREFECT_PROFILES_PATH",
    "SONGFLOW_PREFECT",
    "SONGFLOW_DEBUG",
)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Isolate the test from the machine's configuration and files."""
    for name in (*PREFECT, "COMETAPI_KEY", "OPENAI_HK_KEY", "SONGFLOW_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("SONGFLOW_LIBRARY", str(tmp_path / "songs"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def call(capfdbinary: pytest.CaptureFixture[bytes]) -> Iterator[Call]:
    """Run the command here; returns exit code, stdout and stderr, and restores the loggers."""
    logger = logging.getLogger("songflow")
    before = (list(logger.handlers), logger.level, logger.propagate)

    def invoke(*arguments: str) -> tuple[int, str, str]:
        code = run(list(arguments))
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()

    yield invoke
    assert (list(logger.handlers), logger.level, logger.propagate) == before


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


def test_something_unexpected_is_one_sentence(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 1 without a traceback; SONGFLOW_DEBUG=1 shows it."""

    def burst(*_: object, **__: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("cli.songs.songs", burst)
    monkeypatch.setattr(cli.app, "app", burst)
    code, out, _ = call("songs", "--json")
    assert code == 1
    assert "(RuntimeError: boom)" in json.loads(out)["error"]
    monkeypatch.setenv("SONGFLOW_DEBUG", "1")
    with pytest.raises(RuntimeError):
        call("songs")


def test_something_unexpected_while_paying_may_have_cost_something(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the key, and says that it may be billed."""

    async def burst(*_: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(cli.paid_command, "_in_process", burst)
    code, out, _ = call("generate", "x", "--key", "mine", "--json")
    found = json.loads(out)
    assert (code, found["billed"], found["key"]) == (1, "maybe", "mine")
    assert "--key mine" in found["next"]
    monkeypatch.setenv("SONGFLOW_DEBUG", "1")
    with pytest.raises(RuntimeError):
        call("generate", "x")


def test_after_a_second_ctrl_c_the_outcome_is_unknown(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says that the same key pays once at most."""

    def interrupted(work: Any) -> None:
        work.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.paid_command.asyncio, "run", interrupted)
    code, out, _ = call("generate", "x", "--key", "mine", "--json")
    assert (code, json.loads(out)["billed"], json.loads(out)["key"]) == (5, "maybe", "mine")


@pytest.mark.parametrize("as_json", [True, False])
def test_ctrl_c_in_a_command_that_pays_nothing(
    call: Call, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    """Nothing was sent."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.app, "app", interrupted)
    code, out, err = call("songs", *(["--json"] if as_json else []))
    assert (code, err) == (3, "songflow: Interrupted; nothing was sent.\n")
    assert (json.loads(out)["error"] if as_json else out) == (
        "Interrupted; nothing was sent." if as_json else ""
    )


def test_ctrl_c_after_a_paying_command_has_worked(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it prints: what it made is in the ledger."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.output.Output, "object", interrupted)
    code, out, err = call("generate", "x", "--key", "mine", "--json")
    assert (code, json.loads(out)["billed"]) == (5, "maybe")
    assert "run the same command with --key mine" in err
    monkeypatch.setattr(cli.app, "app", interrupted)
    assert call("songs")[0] == 3, "the next command has paid for nothing"


def test_an_empty_library_is_refused(call: Call) -> None:
    """`--library "$UNSET"` would be the current folder, with another ledger and budget."""
    code, out, _ = call("generate", "x", "--library", "", "--json")
    assert (code, json.loads(out)["billed"]) == (2, "no")
    assert "--library" in json.loads(out)["error"]


def test_the_command_exits_with_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    """From its arguments, or from the process's own."""
    with pytest.raises(SystemExit) as caught:
        cli.main.main(["nope"])
    assert caught.value.code == 2
    assert "nope" in capsys.readouterr().err


def test_an_error_without_a_key_is_given_one() -> None:
    """An error with a key keeps it."""
    with pytest.raises(InputError) as caught, named("mine"):
        raise InputError("no")
    assert caught.value.key == "mine"
    with pytest.raises(KeyConflict) as kept, named("mine"):
        raise KeyConflict("no", key="other")
    assert kept.value.key == "other"


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


# --- songs, simulate, demo ---


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


def test_ctrl_c_ends_the_watching_of_a_sweep(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the usual end: no error, and nothing to say."""
    Path("waltz.yaml").write_text("prompt: a waltz\n")

    async def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.sweep, "_status", pressed)
    monkeypatch.setattr(rich.console.Console, "is_terminal", property(lambda _: True))
    code, out, err = call("sweep", "status", "waltz.yaml")
    assert (code, err, "waltz" in out) == (0, "", False)


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


# --- Prefect or not ---


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
