"""Raw hosts with arbitrary answers, the command inside this process, and a check of what it writes."""

from __future__ import annotations

import base64
import contextlib
import html
import json
import os
import re
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from cli.main import run
from songflow.runtime.retry import without_pauses
from songflow.simulator.synth import codec, render

KEY = "sk-Canary/77+never&shown=0123456789abcdef"
SUCCESS_FIELDS = {"key", "generation_id", "state", "billed", "price", "songs"}
FAILURE_FIELDS = {"error", "billed", "key", "generation_id", "state", "next"}
EXIT_CODES = {0, 1, 2, 3, 4, 5, 6}


def key_forms() -> set[bytes]:
    """Every spelling that reveals the key."""
    forms = {KEY, quote(KEY, safe=""), quote(quote(KEY, safe=""), safe=""), quote(KEY)}
    forms |= {json.dumps(KEY)[1:-1], KEY.replace("/", "\\/"), html.escape(KEY)}
    forms |= {"".join(f"\\u{ord(one):04x}" for one in KEY), "".join(f"&#{ord(one)};" for one in KEY)}
    forms |= {base64.b64encode(KEY.encode()).decode(), repr(KEY)[1:-1], KEY.lower(), KEY.upper()}
    return {form.encode() for form in forms}


@pytest.fixture
def key() -> str:
    """The key that must never be seen."""
    return KEY


@pytest.fixture
def leaks() -> Callable[[bytes], list[bytes]]:
    """The spellings of the key found in some bytes."""
    forms = key_forms()
    return lambda data: [form for form in forms if form in data]


# --- raw hosts --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """One request as a host saw it."""

    method: str
    target: str
    head: bytes
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        """By lower-case name."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


Answer = Callable[[Asked], bytes]


@dataclass
class RawHost:
    """A host on a socket whose answer is whatever bytes `answer` makes of a request."""

    url: str
    answer: Answer
    asked: list[Asked] = field(default_factory=list)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    host: RawHost


class _Handler(socketserver.StreamRequestHandler):
    timeout = 30

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                line = self.rfile.readline(65_536)
                if not line:
                    return
                head += line
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            body = self.rfile.read(int(length[1])) if length else b""
            method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
            asked = Asked(method, target, head, body)
            host = self.server.host  # type: ignore[attr-defined]
            host.asked.append(asked)
            self.wfile.write(host.answer(asked))


@pytest.fixture
def raw_host() -> Iterator[Callable[..., RawHost]]:
    """Start raw hosts, by default on 127.0.0.1."""
    running: list[_Server] = []

    def start(answer: Answer, address: str = "127.0.0.1") -> RawHost:
        server = _Server((address, 0), _Handler)
        server.host = RawHost(f"http://{address}:{server.server_address[1]}", answer)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        running.append(server)
        return server.host

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def http(
    body: bytes | str | dict[str, Any] | list[Any] = b"", status: int = 200, *headers: tuple[str, str]
) -> bytes:
    """An answer after which the connection is closed."""
    if isinstance(body, dict | list):
        body = json.dumps(body)
    data = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(data)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join((*lines, "", "")).encode("latin-1", "replace") + data


def report(*songs: dict[str, Any], status: str = "SUCCESS", **more: Any) -> dict[str, Any]:
    """A finished generation in shape B."""
    about = {"task_id": "gen-1", "status": status, "progress": "100%", "fail_reason": "", **more}
    return {"code": "success", "message": "", "data": {**about, "data": {"songs": list(songs)}}}


def song(url: str | None, **more: Any) -> dict[str, Any]:
    """A finished take at an address."""
    plain = {"id": "song-1", "title": "A waltz", "duration": 0.5, "finished": True, "song_path": url}
    return {**plain, "lyrics": "", "tags": [], "error_type": None, **more}


@dataclass(frozen=True)
class Wire:
    """The builders of answers."""

    http: Callable[..., bytes] = http
    report: Callable[..., dict[str, Any]] = report
    song: Callable[..., dict[str, Any]] = song


@pytest.fixture
def wire() -> Wire:
    """The builders of answers."""
    return Wire()


@pytest.fixture(scope="session")
def mp3_song(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A real song of half a second."""
    path = tmp_path_factory.mktemp("mp3") / "song.mp3"
    params = {"prompt": "piano", "lyrics_type": "generate", "seed": 1}
    music = render.render(params, root=params, root_seed="1", seed="1", samples=22_050, start=0)
    codec.write_mp3(path, music, title="A waltz", artist="nobody", comment="a test", quality=0.75)
    return path.read_bytes()


# --- the command ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A finished command, checked: a documented exit code, one JSON object, no traceback, no key."""

    code: int
    out: bytes
    err: bytes

    def __post_init__(self) -> None:
        assert self.code in EXIT_CODES
        assert b"Traceback" not in self.out + self.err, self.err.decode()
        assert not [form for form in key_forms() if form in self.out + self.err]
        assert b"unexpected" not in self.err, self.err.decode()
        assert self.out.count(b"\n") == 1
        assert self.out.endswith(b"\n")
        fields = set(self.json)
        assert (fields >= SUCCESS_FIELDS) if self.code == 0 else (fields == FAILURE_FIELDS)
        shown = self.err.decode()
        assert all(char.isprintable() or char == "\n" for char in shown), ascii(shown)

    @property
    def json(self) -> dict[str, Any]:
        """The object on stdout."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


Generate = Callable[..., Run]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that holds the library; the key is in the environment."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "SONGFLOW_PREFECT", "SONGFLOW_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("OPENAI_HK_KEY", KEY)
    monkeypatch.setenv("COMETAPI_KEY", KEY)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def no_pauses() -> Iterator[None]:
    """Retry downloads without a pause."""
    with without_pauses():
        yield


@pytest.fixture
def generate(home: Path, no_pauses: None, capfdbinary: pytest.CaptureFixture[bytes]) -> Generate:
    """`songflow generate` in this process, against a gateway's URL."""

    def invoke(url: str, *options: str, prompt: str = "a waltz", deadline: float = 0.2) -> Run:
        capfdbinary.readouterr()
        quick = ("--json", "--poll-interval", "0.05", "--deadline", str(deadline), "--retries", "0")
        code = run(["generate", prompt, "--gateway", "openai-hk", "--base-url", url, *quick, *options])
        return Run(code, *capfdbinary.readouterr())

    return invoke


@pytest.fixture
def command(home: Path, tmp_path: Path) -> Generate:
    """`songflow generate` as a process of its own, in an ASCII locale."""

    def invoke(url: str, *options: str) -> Run:
        program = str(Path(sys.executable).parent / "songflow")
        quick = ("--json", "--poll-interval", "0.05", "--deadline", "0.2", "--retries", "0")
        ended = subprocess.run(
            [program, "generate", "a waltz", "--gateway", "openai-hk", "--base-url", url, *quick, *options],
            cwd=home,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C", "OPENAI_HK_KEY": KEY},
            capture_output=True,
            check=False,
            timeout=100,
        )
        return Run(ended.returncode, ended.stdout, ended.stderr)

    return invoke


@dataclass
class Watch:
    """The contents of a folder, to compare with later ones."""

    folder: Path
    library: Path
    before: dict[Path, bytes | None]

    @classmethod
    def over(cls, folder: Path, library: Path) -> Watch:
        """Read a folder's contents."""
        return cls(folder, library, cls._seen(folder, library))

    @staticmethod
    def _seen(folder: Path, library: Path) -> dict[Path, bytes | None]:
        outside = (path for path in folder.rglob("*") if library not in (path, *path.parents))
        return {path: path.read_bytes() if path.is_file() else None for path in outside}

    def assert_only_the_library_changed(self) -> None:
        """Assert that nothing outside the library was added, removed or changed."""
        assert self._seen(self.folder, self.library) == self.before


@pytest.fixture
def watch(home: Path, tmp_path: Path) -> Iterator[Watch]:
    """Assert after the test that nothing was written outside the library."""
    (home / "precious.mp3").write_bytes(b"precious")
    watched = Watch.over(tmp_path, home / "songs")
    yield watched
    watched.assert_only_the_library_changed()
