"""Shared parts of the benchmarks: a simulator process, commands with their CPU counted, the machine's name."""

from __future__ import annotations

import compileall
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import Scale
from deployments.processes import Group, free_port
from songflow.audio.checksums import audio_sha256_of
from songflow.simulator import SimulatorSettings
from songflow.simulator.timing import generation_seconds

CLI = (sys.executable, "-m", "cli")
MEDIAN_SECONDS = 54.0
"""The duration of a generation at the gateway, from published examples; `speed` scales it."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Resources used by a command and its children: wall and CPU seconds, the largest resident set in MiB."""

    wall: float
    cpu: float
    peak_mib: float
    output: str


@dataclass(frozen=True, slots=True)
class Work:
    """When the gateway worked on a generation (unix seconds), and which pool takes it serves."""

    start: float
    end: float
    pool_slot: int


class Simulator:
    """A running `songflow simulate`, whose records are read from its files."""

    def __init__(self, url: str, state: Path, settings: SimulatorSettings) -> None:
        self.url = url
        self._state = state
        self._settings = settings

    def work(self) -> list[Work]:
        """Every generation that was paid for, in the order of its POST."""
        database = sqlite3.connect(f"file:{self._state}/simulator.sqlite?mode=ro", uri=True)
        query = "SELECT generation_id, submitted_at, pool_slot FROM jobs ORDER BY number"
        rows = database.execute(query).fetchall()
        database.close()
        speed = self._settings.speed
        return [
            Work(start, start + generation_seconds(self._settings, job) / speed, slot)
            for job, start, slot in rows
        ]

    def audio(self) -> Counter[str]:
        """The sha256 of the audio, without tags, of each take that was paid for."""
        pool = {
            int(file.stem.split("-")[1]): _audio_of(file)
            for file in (self._state / "audio").glob("pool-*.mp3")
        }
        takes = range(self._settings.takes)
        return Counter(pool[(job.pool_slot + take) % len(pool)] for job in self.work() for take in takes)


@contextmanager
def simulator(scale: Scale, *, speed: float) -> Iterator[Simulator]:
    """A simulator in its own process, with a pool of ready-made takes."""
    pool, clip_seconds = scale.count(8, 2), scale.of(2.0, 0.5)
    with tempfile.TemporaryDirectory() as folder:
        settings = SimulatorSettings(speed=speed, clip_seconds=clip_seconds, pool=pool)
        options = {
            "--port": 0, "--speed": speed, "--clip-seconds": clip_seconds, "--pool": pool, "--state": folder
        }  # fmt: skip
        words = [str(word) for option in options.items() for word in option]
        command = [*CLI, "simulate", "--json", "--quiet", *words]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            url = json.loads(server.stdout.readline())["url"]
            _until_full(Path(folder) / "audio", pool)
            yield Simulator(url, Path(folder), settings)
        finally:
            server.terminate()
            server.wait()


def _until_full(audio: Path, pool: int) -> None:
    """Wait until the pool is rendered, which is not part of the measurement."""
    while len(list(audio.glob("pool-*.mp3"))) < pool:
        time.sleep(0.05)


# A process inherits the peak memory of the one it was forked from, so a small one starts the measured command. It
# becomes the parent of the command's sender, which outlives the command by a moment and whose CPU counts as well.
_LAUNCHER = """
import json, os, sys, time
if sys.platform == "linux":
    import ctypes
    set_child_subreaper = 36
    ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)
start = time.perf_counter()
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(child, 0)
wall = time.perf_counter() - start
cpu = used.ru_utime + used.ru_stime
try:
    while True:
        _, _, sender = os.wait4(-1, 0)
        cpu += sender.ru_utime + sender.ru_stime
except ChildProcessError:
    pass
found = [os.waitstatus_to_exitcode(status), wall, cpu, used.ru_maxrss / 1024]
open(sys.argv[1], "w").write(json.dumps(found))
"""


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Usage:
    """Run a command to its end and measure what it used.

    Raises:
        SystemExit: it failed; its errors are on stderr.
    """
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts.json"
        launcher = [sys.executable, "-S", "-E", "-c", _LAUNCHER, str(counts)]
        done = subprocess.run(
            [*launcher, *command],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env={**plain_environment(), "SONGFLOW_PREFECT": "off", **(environment or {})},
        )
        code, wall, cpu, peak = json.loads(counts.read_text())
    if code != 0:
        raise SystemExit(f"{' '.join(command[1:5])} ended with {code}: {done.stdout[-2000:]}")
    return Usage(wall, cpu, peak, done.stdout)


def plain_environment() -> dict[str, str]:
    """The environment without this machine's Prefect profile, and with Python as people run it.

    Without bytecode, each start would compile Prefect and httpx again, and that would be measured.
    """
    unwanted = ("PREFECT_", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}


def compile_packages() -> None:
    """Compile our bytecode, as an installation does for its packages; an editable one does not."""
    for package in ("cli", "flows", "tasks", "blocks", "songflow", "deployments"):
        compileall.compile_dir(Path(__file__).parents[1] / package, quiet=1)


class PrefectServer:
    """A running Prefect server; `cpu` is its CPU time so far, in seconds."""

    def __init__(self, url: str, process: int, home: str) -> None:
        self.url = url
        self._process = process
        self.environment = {"PREFECT_API_URL": url, "PREFECT_HOME": home, "SONGFLOW_PREFECT": "on"}

    def cpu(self) -> float:
        """User and system seconds of its process, as counted by the kernel."""
        fields = Path(f"/proc/{self._process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def prefect_server() -> Iterator[PrefectServer]:
    """A Prefect server on SQLite, ready to answer."""
    with tempfile.TemporaryDirectory() as home:
        settings = {"PREFECT_HOME": home, "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        processes, port = Group(Path(home), {**plain_environment(), **settings}), free_port()
        try:
            server = processes.start_prefect_server(port, "--no-ui")
            yield PrefectServer(f"http://127.0.0.1:{port}/api", server.pid, home)
        finally:
            processes.stop("server")


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep of cells that differ in their seed, run from the command line against a simulator; with a Prefect server,
    as a flow run.
    """

    gateway: Simulator
    library: Path
    cells: int
    slots: int
    poll_interval: float | None = None
    check: bool = False
    first_seed: int = 0
    measure: bool = False
    server: PrefectServer | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The environment that a user would set; without covers and measures, which the bare script does not have."""
        return {
            "OPENAI_HK_KEY": "any",
            "SONGFLOW_COVERS": "0",
            "SONGFLOW_MEASURE": "arrival" if self.measure else "off",
            "SONGFLOW_VERIFY_AUDIO": str(int(self.check)),
            **(self.server.environment if self.server else {}),
        }

    def arguments(self) -> list[str]:
        """The arguments of `songflow`."""
        self.library.mkdir(parents=True, exist_ok=True)
        spec = self.library / "sweep.yaml"
        seeds = list(range(self.first_seed, self.first_seed + self.cells))
        spec.write_text(
            f"prompt: a waltz for the benchmark\nlyrics_type: instrumental\ngrid:\n  seed: {seeds}\n"
        )
        poll = [] if self.poll_interval is None else ["--poll-interval", str(self.poll_interval)]
        return [
            "sweep", "run", str(spec), "--gateway", "openai-hk", "--base-url", self.gateway.url,
            "--library", str(self.library), "--concurrency", str(self.slots), "--json", "--quiet", *poll,
        ]  # fmt: skip

    def run(self) -> Usage:
        """Run it to its end."""
        return run([*CLI, *self.arguments()], self.environment)


def run_bare(gateway: Simulator, folder: Path, *, cells: int, slots: int, poll: float, check: bool) -> Usage:
    """Make the same cells with the bare script."""
    script = Path(__file__).with_name("bare.py")
    options = ["--cells", str(cells), "--slots", str(slots), "--poll-interval", str(poll)]
    return run([
        sys.executable, str(script), gateway.url, str(folder), *options, *(["--check"] if check else [])
    ])  # fmt: skip


def check_songs(who: str, folder: Path, gateway: Simulator, cells: int) -> None:
    """Check that a folder contains the audio of every take that was paid for, and nothing else.

    Raises:
        SystemExit: it does not, so the run's ratios are meaningless.
    """
    found, paid = Counter(map(_audio_of, folder.glob("*.mp3"))), gateway.audio()
    posts = len(gateway.work())
    if posts != cells or found != paid:
        raise SystemExit(
            f"{who}: {cells} cells, {posts} POSTs, {found.total()} songs stored of {paid.total()} paid for, "
            f"{(found - paid).total()} of them not what was paid for"
        )


def _audio_of(path: Path) -> str:
    with path.open("rb") as file:
        return audio_sha256_of(file)


def machine() -> str:
    """The name of this machine, for the ratios measured on it."""
    return f"{_processor()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def _processor() -> str:
    try:
        lines: Iterable[str] = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = ()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
