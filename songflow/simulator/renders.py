"""Render jobs to mp3 files in worker threads, once each; a missing file is rendered again from its job's row."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from songflow.simulator import songs
from songflow.simulator.jobs import Job, JobStore
from songflow.simulator.settings import SimulatorSettings

if TYPE_CHECKING:
    from songflow.simulator.synth.types import Audio

_log = logging.getLogger(__name__)
_POOL_PROMPTS = (
    "warm electronic pop",
    "slow sad piano ballad",
    "fast rock with drums",
    "ambient strings",
    "funk",
)


class _Order(NamedTuple):
    """A file and the function that renders it."""

    path: Path
    make: Callable[[Path], None]


class Renders:
    """The audio directory and the threads that fill it. `ready` never blocks, `path` waits."""

    def __init__(self, settings: SimulatorSettings, store: JobStore, directory: Path) -> None:
        self._settings = settings
        self._store = store
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        # Two threads: encoding releases the GIL, so two takes of a job overlap on a laptop.
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="simulator-render")
        self._lock = threading.Lock()
        self._running: dict[Path, Future[Path]] = {}
        self._done: set[Path] = set()

    def start(self, job: Job) -> None:
        """Queue every take of a job, unless the job is to fail."""
        if not job.fail_reason:
            for take in range(1, job.takes + 1):
                self._ask(job, take)

    def fill_pool(self) -> None:
        """Queue the pool's takes before the first job arrives; other lengths are rendered on first use."""
        samples = self._settings.new_samples("udio32-v1.5")
        for slot in range(self._settings.pool):
            self._submit(*self._pool_order(slot, samples))

    def ready(self, job: Job) -> bool:
        """Whether all takes are on disk; queues those that are not."""
        futures = [self._ask(job, take) for take in range(1, job.takes + 1)]
        return all(future.done() and future.exception() is None for future in futures)

    def future(self, job: Job, take: int) -> Future[Path]:
        """The file of a take, as a future."""
        return self._ask(job, take)

    def close(self) -> None:
        """Drop the queue and wait for renders in progress."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _ask(self, job: Job, take: int) -> Future[Path]:
        return self._submit(*self._order(job, take))

    def _order(self, job: Job, take: int) -> _Order:
        """The file of a take and how to render it."""
        if job.pool_slot is None:
            return _Order(
                self.directory / f"{job.generation_id}-{take}.mp3",
                lambda path: self._render(path, job, take),
            )
        slot = (job.pool_slot + take - 1) % max(1, self._settings.pool)
        return self._pool_order(slot, job.new_samples)

    def _pool_order(self, slot: int, samples: int) -> _Order:
        path = self.directory / f"pool-{slot}-{samples}.mp3"
        return _Order(path, lambda path: _render_pool(path, slot, samples))

    def _submit(self, path: Path, make: Callable[[Path], None]) -> Future[Path]:
        with self._lock:
            running = self._running.get(path)
            if running is not None and not running.done():
                return running
            # The set saves a benchmark one stat() per fetch; a deleted file is noticed at download.
            if path in self._done or path.exists():
                self._done.add(path)
                finished: Future[Path] = Future()
                finished.set_result(path)
                return finished
            future = self._running[path] = self._threads.submit(self._run, path, make)
            return future

    def forget(self, path: Path) -> None:
        """Forget a file that turned out to be missing, so that it is rendered again on next use."""
        with self._lock:
            self._done.discard(path)

    def _run(self, path: Path, make: Callable[[Path], None]) -> Path:
        try:
            make(path)
        except Exception:
            _log.exception("rendering %s failed", path.name)
            raise
        with self._lock:
            self._running.pop(path, None)
            self._done.add(path)
        return path

    def _render(self, path: Path, job: Job, take: int) -> None:
        quality = float(job.params.get("generation_quality", 0.75))
        title, comment = songs.title_of(job, take), songs.comment_of(job)
        _write(path, self._samples(job, take), title, quality, comment)

    def _samples(self, job: Job, take: int) -> Audio:
        from songflow.simulator.synth import codec, render

        root = self._store.root(job)
        source = self._store.source(job)
        if job.joins and source is not None:
            return self._joined(*source)
        start = 0
        if source is not None:
            # In the root's time: a continuation begins where the source ends, an introduction ends where the
            # source begins.
            offset = self._store.root_offset(source[0])
            ends = self._store.kept(job, source[0])
            ends_at, begins_at = ends - offset, -offset
            start = ends_at if job.mode == "continuation" else begins_at - job.new_samples
        new = render.render(
            job.params,
            root=root.params,
            root_seed=root.luck,
            seed=f"{job.luck}/{take}",
            samples=job.new_samples,
            start=start,
        )
        if source is None or not self._store.contains_source(job):
            return new
        old = codec.read_mp3(self._now(*source))
        if job.cut is not None:
            old = old[: job.cut]
        return codec.splice(old, new, before=job.mode == "precede")

    def _joined(self, job: Job, take: int) -> Audio:
        """A clip concatenated with the songs that it extends, each up to where it was continued."""
        from songflow.simulator.synth import codec

        clip, source = codec.read_mp3(self._now(job, take)), self._store.source(job)
        if source is None or job.cut is None:
            return clip
        old = self._joined(*source)
        return codec.splice(old[: len(old) - self._store.samples(source[0]) + job.cut], clip, before=False)

    def _now(self, job: Job, take: int) -> Path:
        """The source's file, rendered in this thread if missing (waiting for the pool could deadlock)."""
        path, make = self._order(job, take)
        if not path.exists():
            make(path)
        return path


def _render_pool(path: Path, slot: int, samples: int) -> None:
    from songflow.simulator.synth import render

    params = {"prompt": _POOL_PROMPTS[slot % len(_POOL_PROMPTS)], "lyrics_type": "generate", "seed": slot}
    music = render.render(
        params, root=params, root_seed=str(slot), seed=f"pool/{slot}", samples=samples, start=0
    )
    _write(path, music, f"Ready-made take {slot + 1} (simulated)", 0.75)


def _write(path: Path, music: Audio, title: str, quality: float, comment: str = songs.COMMENT) -> None:
    """Encode to a temporary file, then rename: a file under its final name is complete."""
    from songflow.simulator.synth import codec  # numpy and libsndfile: only loaded to render music

    # Named by process and thread: several may render the same file at once, with identical bytes.
    part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    codec.write_mp3(part, music, title=title, artist=songs.ARTIST, comment=comment, quality=quality)
    part.replace(path)
