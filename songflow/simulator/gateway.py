"""The state of a running simulator, which the HTTP handlers work with."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from songflow.simulator import timing
from songflow.simulator.faults import FaultPlayer, FaultScript
from songflow.simulator.jobs import BillEntry, Job, JobStore
from songflow.simulator.renders import Renders
from songflow.simulator.requests import Order, fingerprint
from songflow.simulator.settings import MODEL_PRICE, SimulatorSettings


@dataclass
class Traffic:
    """Counts of requests and answers since the start (not durable, unlike the bill)."""

    posts: int = 0
    post_answers: Counter[str] = field(default_factory=Counter)
    fetches: int = 0
    fetch_answers: Counter[str] = field(default_factory=Counter)
    downloads: int = 0
    download_answers: Counter[str] = field(default_factory=Counter)
    download_authorizations: int = 0
    images: int = 0
    callbacks: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, Any]:
        """Count an answer by its status, or a wire fault by its name."""
        return {
            "posts": {"seen": self.posts, "answered": dict(self.post_answers)},
            "fetches": {"seen": self.fetches, "answered": dict(self.fetch_answers)},
            "downloads": {
                "seen": self.downloads,
                "answered": dict(self.download_answers),
                "authorizations": self.download_authorizations,
            },
            "images": {"seen": self.images},
            "callbacks": dict(self.callbacks),
        }


class Gateway:
    """One running simulator. Call `open` before use and `close` after."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self.faults = FaultPlayer(settings.faults, settings.seed)
        self.traffic = Traffic()
        # Unix seconds; tests move it forward instead of waiting.
        self.clock: Callable[[], float] = time.time
        self.store: JobStore
        self.renders: Renders
        # For `at_once`: unfinished generations, and submits that are being accepted right now.
        self.arriving = 0
        self.reporting: set[asyncio.Task[None]] = set()
        self._unfinished: list[Job] = []
        self._temporary: Path | None = None
        # One thread: commits stay in order, and a slow fsync does not block the event loop.
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="simulator-bill")

    def open(self) -> None:
        """Create or reopen the state directory. Raises OSError or sqlite3.Error if it cannot be used."""
        directory = self.settings.state_dir
        if directory is None:
            directory = self._temporary = Path(tempfile.mkdtemp(prefix="songflow-simulator-"))
        directory.mkdir(parents=True, exist_ok=True)
        self.store = JobStore(
            directory / "simulator.sqlite", self.settings.whole_extensions, self.settings.whole_parts
        )
        self.renders = Renders(self.settings, self.store, directory / "audio")
        self.renders.fill_pool()

    def close(self) -> None:
        self._writer.shutdown(wait=True)
        self.renders.close()
        self.store.close()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def play(self, script: FaultScript) -> None:
        """Replace the fault script: counts restart, and the old script's faults no longer apply to generations."""
        self.faults = FaultPlayer(script, self.settings.seed)

    def bill(self) -> list[BillEntry]:
        return self.store.bill()

    def moment(self, job: Job) -> timing.Moment:
        return timing.moment(self.settings, job, self.clock())

    async def accept(
        self, order: Order, body: dict[str, Any], dialect: str, authorization: str | None, **extra: Any
    ) -> Job:
        """Bill a generation; it is on disk when this returns. `extra`: columns that a fault sets."""
        generation_id = str(extra.pop("generation_id", None) or uuid.uuid4())
        slot, new_samples = None, 0
        takes = self.settings.takes if order.takes is None else order.takes
        joined = self.store.song(order.source_song_id or "") if order.joins else None
        if joined is not None:
            takes, new_samples = 1, self.store.joined_samples(joined[0])
        if self.settings.pool > 0 and order.source_song_id is None:  # an extension contains its source
            slot = int(sha256(generation_id.encode()).hexdigest()[:8], 16) % self.settings.pool
        job = Job(
            generation_id=generation_id,
            submitted_at=self.clock(),
            dialect=dialect,
            body=body,
            price=MODEL_PRICE[order.model_type] if order.price is None else order.price,
            key_fingerprint=fingerprint(authorization),
            takes=takes,
            new_samples=new_samples or self.settings.new_samples(order.model_type, order.seconds),
            source_song_id=order.source_song_id,
            pool_slot=slot,
            **extra,
        )
        await asyncio.get_running_loop().run_in_executor(self._writer, self.store.add, job)
        self.renders.start(job)
        if self.settings.at_once:
            self._unfinished.append(job)
        return job

    def crowded(self) -> bool:
        """Whether `at_once` generations are unfinished, so that the next submit is refused."""
        if not self.settings.at_once:
            return False
        self._unfinished = [job for job in self._unfinished if not self.moment(job).due]
        return len(self._unfinished) + self.arriving >= self.settings.at_once

    def finished_song(self, order: Order) -> bool:
        """Whether an order's song can be extended: it is known, did not fail, is finished, and of that generation."""
        found = self.store.song(order.source_song_id or "")
        if found is None or order.source_job_id not in (None, found[0].generation_id):
            return False
        if order.joins and found[0].cut is None:
            return False  # it is whole
        return not found[0].fail_reason and self.moment(found[0]).due
