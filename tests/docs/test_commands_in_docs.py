"""Every command in the documents is run, in the order of its page, and must end with the exit code of its comment
(0 without one). Commands that cannot be run here are listed with the reason."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import yaml
from support.documents import PAGES, PROGRAMS, ROOT, Chunk, chunks, comment_of, prose, words_of
from support.prefect_server import PrefectServer
from support.reader import KEY, Reader, Serving

import deployments.cluster
from cli.app import app

# --- the tables ---

STAND_INS: dict[str, Callable[[Reader], str]] = {
    "SONG_ID": lambda reader: str(reader.manifest()["song_id"].iloc[-1]),
    "SONG": lambda reader: str(reader.manifest()["song_id"].iloc[-1]),
    "FIRST_SONG": lambda reader: str(reader.manifest()["song_id"].iloc[0]),
    "songs/audio/Rain-0df23cc9d4.mp3": lambda reader: str(reader.manifest()["path"].iloc[-1]),
    "KEY": lambda reader: reader.unknown()[0],
    "ID": lambda reader: reader.unknown()[1],
    "COMETAPI_KEY=...": lambda _: f"COMETAPI_KEY={KEY}",
    "OPENAI_HK_KEY=...": lambda _: f"OPENAI_HK_KEY={KEY}",
    "PIAPI_KEY=...": lambda _: f"PIAPI_KEY={KEY}",
    "SONGFLOW_API_KEY=...": lambda _: f"SONGFLOW_API_KEY={KEY}",
    "https://pi.openai-hk.com": lambda reader: reader.gateway.url,
    "https://songs.example.com": lambda reader: reader.gateway.url,
    "http://127.0.0.1:8765": lambda reader: reader.simulated,
    "PREFECT_API_URL=http://127.0.0.1:4200/api": lambda reader: (
        f"PREFECT_API_URL={reader.names['prefect'].url}"
    ),
}
"""Placeholders on a page, and their values in the test."""

FILES = {
    "words.txt": "We are walking to the harbour\nwith the colours of the night\n",
    "verse2.txt": "Every window has a light\n",
    "two.yaml": "variables: {prompt: }\n"
    'core: {prompt: "${prompt}", take: ask}\n'
    "steps:\n- {name: outro, place: outro, lyrics_type: instrumental}\n",
    "sweep.yaml": "prompt: a slow waltz\nlyrics_type: instrumental\n"
    "random: {n: 4, seed: 7, fields: {prompt_strength: {from: 0, to: 1}}}\n",
    "waltz.yaml": next(
        chunk.text for chunk in chunks(ROOT / "docs" / "sweeps.md") if chunk.name == "waltz.yaml"
    ),
}
"""Files that pages name without showing them (`waltz.yaml` is the one of docs/sweeps.md)."""

BEFORE = {
    "extensions.md": ["songflow generate 'a song to extend'"],
    "files.md": ["songflow generate 'a song with a story'"],
    "reports.md": [
        "export COMETAPI_KEY=...",
        "songflow sweep run sweep.yaml --gateway cometapi",
        "songflow rate FIRST_SONG 5",
    ],
}
"""Commands to run before a page, which it takes for granted."""

GATEWAY = {"extensions.md": {"whole_extensions": False}}
"""Settings of a page's simulated gateway: here it returns only the new part, so that there is something to stitch."""

NOT_RUN = {
    r"python -m pytest .*": "runs tests",
    r"docker compose .*": "needs a container engine; tests/deployments/test_compose.py reads the file",
    r"export SONGFLOW_DB_PASSWORD=.*": "is for the containers",
    r"python -m deployments\.cluster .*": "needs PostgreSQL and Redis; tests/deployments/test_cluster.py starts it",
    r"songflow listen .*--token-file .*": "is for a team; tests/songflow/listening/test_team.py has its rules",
    r"pip install .*": "would change the environment that the tests run in",
}
"""Commands that are not run, and why; `check_without_running` checks what it can."""

NO_COMMANDS = {
    (
        "add-a-gateway.md",
        "[project.",
    ): "a pyproject.toml; tests/cli/test_installed_gateways.py installs the page's code",
    ("architecture.md", "cli ──>"): "a diagram of the layers",
    ("architecture.md", "api  "): "a diagram of the rooms",
    ("architecture.md", "intended ──>"): "a diagram of the states",
    ("sweeps.md", "[0.25, 0.5]"): "ways to write a sweep's values; tests/songflow/sweeps reads each",
    ("waiting.md", "lag x GETs"): "a formula",
    ("waiting.md", "V(i) ="): "a formula",
    ("waiting.md", "R = sum"): "a formula",
}
"""Blocks that are not commands, Python or YAML."""

PROCESSES = {
    ("songflow", "listen"): r"The listening room is open at (\S+)",
    ("songflow", "simulate"): r"The simulated gateway listens at (\S+)",
}
"""Commands that serve until Ctrl-C, and the log line with their address that says they are ready."""

SHARED_PROCESSES = {
    ("python", "-m", "deployments.serve"): r"are being served",
    ("prefect", "worker", "start", "--pool", "songflow"): r"Worker .* started!",
}
"""The same for the slowest to start: they keep running for the module's other pages."""


def with_options(words: list[str], reader: Reader) -> list[str]:
    """Add the test's options: the simulated gateway's address, --yes, a free port, short songs and a second of them."""
    if "--gateway" in words and "--base-url" not in words:
        words = [*words, "--base-url", reader.gateway.url]
    if "--fallback" in words:
        place = words.index("--fallback") + 1
        words = [*words[:place], f"{words[place]}={reader.gateway.url}", *words[place + 1 :]]
    if {"--spend", "--resubmit"} & {*words}:
        words = [*words, "--yes"]
    if tuple(words[:2]) in PROCESSES:
        words = [*words, "--port", "0"]
    if words[:2] == ["songflow", "simulate"]:
        words = [*words, "--clip-seconds", "2"]
    if "--at" in words:
        place = words.index("--at") + 1
        words = [*words[:place], "0.5", *words[place + 1 :]]
    return words


# --- following a page ---


def follow(reader: Reader, command: str, serving: Serving) -> None:
    """Run a command line of a page and check its exit code."""
    if reason := next(
        (why for how, why in NOT_RUN.items() if re.fullmatch(how, " ".join(words_of(command)))), None
    ):
        check_without_running(words_of(command), reason)
        return
    if "a lost waltz" in command and "never sent again" not in command:
        reader.lose_an_answer()
    words = with_options(
        [STAND_INS.get(word, lambda _, as_it_is=word: as_it_is)(reader) for word in words_of(command)], reader
    )
    while re.match(r"[A-Z_]+=", words[0]):
        reader.set(words.pop(0))
    named = re.search(r"exit code (\d)", comment_of(command))
    wanted = int(named[1]) if named else 0
    assert execute(reader, words, serving) == wanted, f"{command}\n{reader.output[-3000:]}"


def execute(reader: Reader, words: list[str], serving: Serving) -> int:
    """Run a command and return its exit code; 0 for one that serves, once it is ready."""
    for begin, word in SHARED_PROCESSES.items():
        if tuple(words[: len(begin)]) == begin:
            serving.ensure(*words, until=word)
            return 0
    match words:
        case ["export", *assignments]:
            for assignment in assignments:
                reader.set(assignment)
            return 0
        case ["songflow", "listen" | "simulate" as name, *rest]:
            reader.simulated = reader.started(*words, until=PROCESSES["songflow", name])
            assert httpx.get(reader.simulated, trust_env=False).status_code < 500
            return 0
        case ["songflow", *rest]:
            return reader.songflow(*rest)
        case ["prefect", "server", "start"]:
            # The session's server was started by this command, on its own port.
            return 0 if httpx.get(f"{reader.names['prefect'].url}/health", trust_env=False).is_success else 1
        case ["prefect", *rest]:
            return reader.process("prefect", *rest, where=ROOT)
        case ["make", target]:
            lines = commands_of_target(target)
            assert lines, f"make {target} runs nothing of the environment's"
            for line in lines:
                follow(reader, line, serving)
            return 0
    pytest.fail(f"this test does not know how to run {words}: add it to a table")


def commands_of_target(target: str) -> list[str]:
    """What `make` would run in an installed environment."""
    ready = [f"--assume-old=.venv/{name}" for name in (".ready", ".ready-dev")]
    done = subprocess.run(
        ["make", "--dry-run", *ready, target], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [line for line in done.stdout.splitlines() if line.startswith(".venv/bin/")]


def check_without_running(words: list[str], reason: str) -> None:
    """Check what can be checked of a command without running it."""
    assert reason
    match words:
        case ["make", target]:
            assert commands_of_target(target)
        case ["python", "-m", "pytest", *rest]:
            assert all((ROOT / word).exists() for word in rest if word.startswith("tests"))
        case ["docker", "compose", "--file", path, *_]:
            services = yaml.safe_load((ROOT / path).read_text())["services"]
            assert {option.partition("=")[0] for option in words if "=" in option} <= {*services}
        case ["python", "-m", "deployments.cluster", *rest]:
            shown = io.StringIO()
            with contextlib.redirect_stdout(shown), pytest.raises(SystemExit):
                deployments.cluster.main(["--help"])
            assert all(option in shown.getvalue() for option in rest if option.startswith("--"))
        case ["pip", "install", package]:
            extra = re.search(r"\[(\w+)\]", package)
            assert extra
            assert f"\n{extra[1]} = [" in (ROOT / "pyproject.toml").read_text()


def run_python(reader: Reader, chunk: Chunk) -> None:
    """Run a block that is a script; of a block from inside a flow, run the imports."""
    if "asyncio.run(" in chunk.text or "_sync(" in chunk.text:
        reader.python(chunk.text)
        return
    tree = compile(chunk.text, chunk.place, "exec", flags=ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert isinstance(tree, ast.Module)
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    reader.python("\n".join(map(ast.unparse, imports)))


def needs_server(page: Path) -> bool:
    return any("prefect server start" in chunk.text for chunk in chunks(page))


def id_of(page: Path) -> str:
    """The page's path in the repository, as the id of its tests."""
    return page.relative_to(ROOT).as_posix()


def marked(page: Path) -> object:
    if not any(chunk.kind in {"commands", "python"} for chunk in chunks(page)):
        return pytest.param(page, marks=pytest.mark.skip(reason="no commands"), id=id_of(page))
    marks = [pytest.mark.prefect, pytest.mark.xdist_group("prefect-ui")] if needs_server(page) else []
    return pytest.param(page, marks=marks, id=id_of(page))


@pytest.mark.parametrize("page", [marked(page) for page in PAGES])
def test_the_commands_of_a_page_run(
    page: Path, reader: Reader, serving_processes: Serving, request: pytest.FixtureRequest
) -> None:
    """From top to bottom, in one folder and one environment."""
    if needs_server(page):
        server: PrefectServer = request.getfixturevalue("running_prefect_server")
        reader.names["prefect"] = server
    reader.settings |= GATEWAY.get(page.name, {})
    for name in (name for name in FILES if name in page.read_text()):
        (reader.folder / name).write_text(FILES[name])
    for command in BEFORE.get(page.name, ()):
        follow(reader, command, serving_processes)
    for chunk in chunks(page):
        match chunk.kind:
            case "commands":
                for command in chunk.commands():
                    follow(reader, command, serving_processes)
            case "python":
                run_python(reader, chunk)
            case "file":
                (reader.folder / chunk.name).write_text(chunk.text)
    if page.name == "first-song.md":
        check_output_lines(page, reader)


def check_output_lines(page: Path, reader: Reader) -> None:
    """Every line in the table of output lines was printed."""
    table = page.read_text().split("| line | meaning |\n")[1].split("\n\n")[0]
    for line in re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE):
        assert re.search(re.escape(line).replace(r"\.\.\.", ".+"), reader.output), line


# --- sentences ---

OTHERS_OPTIONS = {
    "--postgres", "--redis", "--workers", "--pool", "--all", "--quick", "--file", "--up", "--build", "--detach",
    "--scale",
}  # fmt: skip


def options_of(command: str, *, of: object = app) -> set[str]:
    """The options of a command, including those of its subcommands."""
    found: set[str] = set()
    words = command.split()
    group = app[words[0]]
    for one in [group, *(group[name] for name in group if not name.startswith("-"))]:
        if one.default_command is not None:
            found |= {name for argument in one.assemble_argument_collection() for name in argument.names}
    return found | {"--help", "--version"}


COMMANDS = [name for name in app if not name.startswith("-")]
FILES_OF_THE_REPOSITORY = re.compile(
    r"(benchmarks|blocks|cli|deployments|docs|flows|songflow|tasks|tests)/[\w./-]+"
)
ALL_OPTIONS = set().union(*map(options_of, COMMANDS)) | OTHERS_OPTIONS


@pytest.mark.parametrize("page", PAGES, ids=id_of)
def test_everything_a_page_names_exists(page: Path) -> None:
    """Commands, options, files, links and pictures in its sentences and comments exist."""
    text = page.read_text(encoding="utf-8")
    spans = re.findall(r"`([^`\n]+)`", prose(page))
    for span in spans:
        if named := re.match(r"songflow ([a-z]+)((?: .*)?)$", span):
            assert named[1] in COMMANDS, span
            assert set(re.findall(r"--[a-z-]+", named[2])) <= options_of(named[1]), span
        if FILES_OF_THE_REPOSITORY.fullmatch(span):
            assert (ROOT / span).exists(), span
    mentions = [*spans, *(comment_of(line) for chunk in chunks(page) for line in chunk.text.splitlines())]
    for one in mentions:
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", one)) <= ALL_OPTIONS, one
    for link in re.findall(r"\]\(([^)#\s]+)", text):
        assert link.startswith("https://") or exists(page.parent / link), link


def exists(path: Path) -> bool:
    """Whether a file exists, or is a picture drawn by the browser tests."""
    tests = "".join(test.read_text() for test in (ROOT / "tests" / "browser").glob("test_*.py"))
    return path.is_file() or (path.parent.name == "images" and f'"{path.name}"' in tests)


def test_every_block_is_of_a_known_kind() -> None:
    """A new program, or a block of an unknown kind, fails here."""
    unknown = [
        chunk.place
        for page in PAGES
        for chunk in chunks(page)
        if chunk.kind == "other"
        and not any(chunk.page.name == name and chunk.text.startswith(begin) for name, begin in NO_COMMANDS)
    ]
    assert unknown == []
    for page in PAGES:
        for chunk in chunks(page):
            for command in chunk.commands() if chunk.kind == "commands" else ():
                first = next(word for word in words_of(command) if not re.match(r"[A-Z_]+=.*", word))
                assert first in PROGRAMS, f"{chunk.place}: {command}"


def test_only_commands_of_the_pages_are_excused() -> None:
    """The list of commands that are not run contains only commands of the pages."""
    commands = [
        " ".join(words_of(command))
        for page in PAGES
        for chunk in chunks(page)
        if chunk.kind == "commands"
        for command in chunk.commands()
    ]
    assert [how for how in NOT_RUN if not any(re.fullmatch(how, command) for command in commands)] == []
