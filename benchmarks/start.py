"""Start: the time from a command to its first POST, relative to a bare script that imports httpx and sends one."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from benchmarks.lab import CLI, plain_environment, simulator
from benchmarks.report import Finding, Outcome, Scale

RUNS = 7

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


def measure(scale: Scale) -> list[Outcome]:
    """Measure both in turn, so that the ratio holds on a noisy machine; a first pair warms the disk cache."""
    bare, songflow, warming = [], [], scale.count(1, 0)
    with (
        simulator(scale, speed=1000.0) as gateway,
        tempfile.TemporaryDirectory() as folder,
    ):
        for number in range(scale.count(RUNS, 1) + warming):
            bare.append(_until_post(gateway.url, [sys.executable, "-c", _BARE, gateway.url]))
            songflow.append(_until_post(gateway.url, _command(gateway.url, Path(folder) / "songs", number)))
    ratio = statistics.median(
        ours / theirs for ours, theirs in zip(songflow[warming:], bare[warming:], strict=True)
    )
    return [
        Outcome(
            title="Start: seconds from command to first POST",
            columns=("min", "median", "max"),
            rows=[
                ("bare script", _spread(bare[warming:])),
                ("songflow generate", _spread(songflow[warming:])),
            ],
            findings=[
                Finding("seconds to the first POST", statistics.median(songflow[warming:]), 4.0),
                Finding("start relative to the bare script", ratio),
            ],
        )
    ]


def _spread(times: list[float]) -> tuple[float, float, float]:
    return min(times), statistics.median(times), max(times)


def _command(url: str, library: Path, number: int) -> list[str]:
    return [
        *CLI, "generate", f"start {number}", "--gateway", "openai-hk",
        "--base-url", url, "--library", str(library), "--poll-interval", "0.1", "--quiet",
    ]  # fmt: skip


def _until_post(url: str, command: list[str]) -> float:
    """Seconds from starting a command until the simulator has counted its POST."""
    before = _posts(url)
    environment = {**plain_environment(), "OPENAI_HK_KEY": "any", "SONGFLOW_PREFECT": "off"}
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
