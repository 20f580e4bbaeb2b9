"""Start: the time from a command to its first POST, against a bare script that imports httpx and sends one.

The simulator runs in a process of its own and notes when it counts a POST; both sides are started in turn on
the same machine, so the ratio holds where the machine is noisy.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from rich.console import Console
from rich.table import Table

RUNS = 7
_CLI = (sys.executable, "-m", "cli")

_BARE = """
import httpx, sys
body = {
    "gen_params": {
        "prompt": "bare", "lyrics": "", "lyrics_type": "generate", "bypass_prompt_optimization": False,
        "seed": -1, "song_section_start": 0, "song_section_end": 1, "prompt_strength": 0.5,
        "clarity_strength": 0.25, "lyrics_strength": 0.5, "generation_quality": 0.75, "negative_prompt": "",
        "model_type": "udio32-v1.5", "config": {"mode": "regular"},
    }
}
answer = httpx.post(sys.argv[1] + "/udio/submit/music", json=body, headers={"Authorization": "Bearer any"})
answer.raise_for_status()
"""


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [*_CLI, "simulate", "--port", "0", "--json", "--quiet", "--speed", "1000", "--clip-seconds", "1"],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stdout is not None
            url = json.loads(server.stdout.readline())["url"]
            library = Path(folder) / "songs"
            bare, songflow = [], []
            for number in range(RUNS + 1):
                bare.append(_until_post(url, [sys.executable, "-c", _BARE, url]))
                songflow.append(_until_post(url, _command(url, library, number)))
        finally:
            server.terminate()
            server.wait()
    _print(bare[1:], songflow[1:])  # the first of each warms the disk's cache


def _command(url: str, library: Path, number: int) -> list[str]:
    return [
        *_CLI, "generate", f"start {number}", "--gateway", "openai-hk",
        "--base-url", url, "--library", str(library), "--poll-interval", "0.1", "--quiet",
    ]  # fmt: skip


def _until_post(url: str, command: list[str]) -> float:
    """Seconds from starting a command until the simulator has counted its POST."""
    before = _posts(url)
    environment = {**os.environ, "OPENAI_HK_KEY": "any", "SONGFLOW_PREFECT": "off"}
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while _posts(url) == before:
        if process.poll() is not None and _posts(url) == before:
            raise SystemExit(f"{command[1:4]} ended with {process.returncode} and sent nothing")
        time.sleep(0.005)
    seconds = time.perf_counter() - start
    process.wait()
    return seconds


def _posts(url: str) -> int:
    with urllib.request.urlopen(f"{url}/_simulator/bill") as answer:
        return int(json.load(answer)["posts"])


def _print(bare: list[float], songflow: list[float]) -> None:
    table = Table(title="Seconds from command to first POST", title_justify="left")
    for heading in ("", "min", "median", "max"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, times in (("bare script", bare), ("songflow generate", songflow)):
        values = (min(times), statistics.median(times), max(times))
        table.add_row(name, *(f"{value:.2f}" for value in values))
    console = Console()
    console.print(table)
    ratio = statistics.median(ours / theirs for ours, theirs in zip(songflow, bare, strict=True))
    console.print(
        f"ratio {ratio:.1f} (median of {len(bare)} pairs), {os.cpu_count()} cores, {platform.platform()}"
    )
