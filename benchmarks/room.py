"""Room: the listening room's page in Chromium, on 100,000 songs relative to 100.

Both rooms are open at once and take turns, so that the ratios hold on a noisy machine. Each time is measured in the
page, from the act until the songs that it leads to are drawn.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.lab import CLI, plain_environment
from benchmarks.library import fill
from benchmarks.report import Finding, Outcome, Scale

SIZES, QUICK_SIZES = (100, 100_000), (100, 300)
RUNS = 9
_BROWSER = ["--no-sandbox", "--disable-quic", "--disable-background-networking"]

_UNTIL = """
const until = (holds) => new Promise((done) => {
  const look = () => (holds() ? done(performance.now() - began) : requestAnimationFrame(look));
  look();
});
const space = document.getElementById("space");
"""
_FIRST = f"async () => {{ const began = 0; {_UNTIL} return until(() => space.querySelector('h2')); }}"
# An answer replaces all rows.
_CHANGED = f"""async ([id, value, name]) => {{
  const began = performance.now();
  {_UNTIL}
  const before = space.firstElementChild, control = document.getElementById(id);
  control.value = value;
  control.dispatchEvent(new Event(name));
  return until(() => space.firstElementChild !== before && space.querySelector("h2"));
}}"""
_END = f"""async () => {{
  const began = performance.now();
  const list = document.getElementById("songs");
  list.scrollTop = list.scrollHeight;
  {_UNTIL}
  return until(() => {{
    const last = space.lastElementChild;
    return last && last.ariaPosInSet === last.ariaSetSize && last.querySelector("h2");
  }});
}}"""
_NODES = "() => document.querySelectorAll('*').length"

_ACTS = ("first card", "a keystroke", "a sort", "a jump to the end")


def measure(scale: Scale) -> list[Outcome]:
    """Open a room of each size and do the same in both; nothing where there is no Chromium."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        return []
    from playwright.sync_api import sync_playwright

    sizes, warming = QUICK_SIZES if scale.quick else SIZES, scale.count(1, 0)
    with ExitStack() as stack:
        addresses = [stack.enter_context(_room(songs)) for songs in sizes]
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=chromium, args=_BROWSER)
        pages = [browser.new_page(viewport={"width": 1000, "height": 800}) for _ in sizes]
        runs: list[list[list[float]]] = [[] for _ in sizes]
        for _ in range(scale.count(RUNS, 1) + warming):  # a first one warms the caches
            for page, address, measured in zip(pages, addresses, runs, strict=True):
                measured.append(_times(page, address))
        nodes = [float(page.evaluate(_NODES)) for page in pages]
        browser.close()
    medians = [
        [statistics.median(times) for times in zip(*measured[warming:], strict=True)] for measured in runs
    ]
    small, large = medians[0], medians[-1]
    return [
        Outcome(
            title="Room, in milliseconds",
            columns=(*_ACTS, "nodes"),
            rows=[
                (f"{songs:,} songs", (*times, count))
                for songs, times, count in zip(sizes, medians, nodes, strict=True)
            ],
            findings=[
                *(
                    Finding(f"{act}, {sizes[-1]:,} songs relative to {sizes[0]:,}", after / before, 1.5)
                    for act, before, after in zip(_ACTS, small, large, strict=True)
                ),
                Finding(f"nodes of the page, {sizes[-1]:,} songs", nodes[-1], 1000.0),
            ],
        )
    ]


def _times(page: Any, address: str) -> list[float]:
    page.goto("about:blank")
    page.goto(address)
    times = [page.evaluate(_FIRST)]
    times.append(page.evaluate(_CHANGED, ["find", "wal", "input"]))
    page.evaluate(_CHANGED, ["find", "", "input"])
    times.append(page.evaluate(_CHANGED, ["order", "title", "change"]))
    times.append(page.evaluate(_END))
    return [float(one) for one in times]


@contextmanager
def _room(songs: int) -> Iterator[str]:
    """The address of a room whose index has all songs."""
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), songs)
        command = [*CLI, "listen", "--port", "0", "--json", "--library", folder]
        process = subprocess.Popen(
            command, env=plain_environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())["url"]
            while not _library(address)["complete"]:
                time.sleep(0.5)
            yield address
        finally:
            process.terminate()
            process.wait()


def _library(address: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{address}/library") as answer:
        found: dict[str, Any] = json.load(answer)
        return found
