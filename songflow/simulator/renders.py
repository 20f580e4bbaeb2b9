"""Turns jobs into mp3 files, in worker threads, once each; a missing file is made again from its job's row."""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from songflow.simulator import songs
from songflow.simulator.jobs import Job, JobStore
from songflow.simulator.settings import SimulatorSettings

if TYPE_CHECKING:
    import numpy as np

_log = logging.getLogger(__name__)
_POOL_PROMPTS = ("warm electronic pop", "slow sad piano ballad", "fast rock with drums", "ambient strings", "funk")


class Renders:
    """The audio directory and the threads that fill it. `ready` never blocks; `path` waits."""

    def __init__(self, settings: SimulatorSettings, store: JobStore, directory: Path) -> None:
        self._settings = settings
        self._store = store
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        # Two threads: encoding releases the GIL, so two takes of a job overlap on a laptop.
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="simulator-render")
        self._lock = threading.Lock()
        self._running: dict[Path, Future[Path]] = {}
        self._done: set[Path] = set()

    def start(self, job: Job) -> None:
        """Queue every take of a job that is to have songs."""
        if not job.fail_reason:
            for take in range(1, job.takes + 1):
                self._ask(job, take)

    def fill_pool(self) -> None:
        """Queue the ready-made takes ahead of the first job; other lengths are made when first asked for."""
        samples = self._settings.new_samples("udio32-v1.5")
        for slot in range(self._settings.pool):
            self._submit(self._pool_file(slot, samples), self._render_pool, slot, samples)

    def ready(self, job: Job) -> bool:
        """Whether all takes are on disk; asks for those that are not."""
        return all(self._ask(job, take).done() for take in range(1, job.takes + 1))

    def future(self, job: Job, take: int) -> Future[Path]:
        """The file of a take, now or later."""
        return self._ask(job, take)

    def close(self) -> None:
        """Drop what is queued, wait for what is being rendered."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _ask(self, job: Job, take: int) -> Future[Path]:
        if job.pool_slot is not None:
            slot = (job.pool_slot + take - 1) % max(1, self._settings.pool)
            return self._submit(self._pool_file(slot, job.new_samples), self._render_pool, slot, job.new_samples)
        return self._submit(self._file(job, take), self._render, job, take)

    def _submit(self, path: Path, work: Any, *arguments: Any) -> Future[Path]:
        with self._lock:
            running = self._running.get(path)
            if running is not None and not running.done():
                return running
            # The set spares a benchmark one stat() per fetch; a file removed behind our back is seen at download.
            if path in self._done or path.exists():
                self._done.add(path)
                finished: Future[Path] = Future()
                finished.set_result(path)
                return finished
            future = self._running[path] = self._threads.submit(self._run, path, work, arguments)
            return future

    def forget(self, path: Path) -> None:
        """A file turned out to be missing: make it again when next asked for."""
        with self._lock:
            self._done.discard(path)

    def _run(self, path: Path, work: Any, arguments: tuple[Any, ...]) -> Path:
        try:
            work(path, *arguments)
        except Exception:
            _log.exception("rendering %s failed", path.name)
            raise
        with self._lock:
            self._running.pop(path, None)
            self._done.add(path)
        return path

    def _file(self, job: Job, take: int) -> Path:
        return self._directory / f"{job.generation_id}-{take}.mp3"

    def _pool_file(self, slot: int, samples: int) -> Path:
        return self._directory / f"pool-{slot}-{samples}.mp3"

    def _render(self, path: Path, job: Job, take: int) -> None:
        from songflow.simulator.synth import codec  # numpy and libsndfile: only where music is really made

        codec.write_mp3(
            _part_of(path),
            self._samples(job, take),
            title=songs.title_of(job, take),
            artist=songs.ARTIST,
            comment=songs.COMMENT,
            quality=float(job.params.get("generation_quality", 0.75)),
        )
        os.replace(_part_of(path), path)

    def _samples(self, job: Job, take: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        from songflow.simulator.synth import codec, render

        root = self._store.root(job)
        source = self._store.source(job)
        start = 0
        if source is not None:
            offset = self._store.root_offset(source[0])
            # In the root's own time a continuation begins where the source ends, an introduction ends where it begins.
            start = self._store.samples(source[0]) - offset if job.mode == "continuation" else -offset - job.new_samples
        new = render.render(
            job.params,
            root=root.params,
            root_seed=render.seed_of(root.params, root.generation_id),
            seed=f"{render.seed_of(job.params, job.generation_id)}/{take}",
            samples=job.new_samples,
            start=start,
        )
        if source is None:
            return new
        old = codec.read_mp3(self._now(*source))
        return codec.splice(old, new, before=job.mode == "precede")

    def _now(self, job: Job, take: int) -> Path:
        """The source's file, rendered in this very thread when it is missing (waiting could deadlock two threads)."""
        if job.pool_slot is not None:
            path = self._pool_file((job.pool_slot + take - 1) % max(1, self._settings.pool), job.new_samples)
            if not path.exists():
                self._render_pool(path, (job.pool_slot + take - 1) % max(1, self._settings.pool), job.new_samples)
            return path
        path = self._file(job, take)
        if not path.exists():
            self._render(path, job, take)
        return path

    def _render_pool(self, path: Path, slot: int, samples: int) -> None:
        from songflow.simulator.synth import codec, render

        params = {"prompt": _POOL_PROMPTS[slot % len(_POOL_PROMPTS)], "lyrics_type": "generate", "seed": slot}
        music = render.render(
            params, root=params, root_seed=str(slot), seed=f"pool/{slot}", samples=samples, start=0
        )
        title = f"Ready-made take {slot + 1} (simulated)"
        codec.write_mp3(_part_of(path), music, title=title, artist=songs.ARTIST, comment=songs.COMMENT)
        os.replace(_part_of(path), path)


def _part_of(path: Path) -> Path:
    # Named by thread: two threads may make the same source at once, and both results are the same bytes.
    return path.with_name(f"{path.name}.{threading.get_ident()}.part")
