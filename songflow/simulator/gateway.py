"""The simulator's parts put together: what the HTTP handlers work with."""

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
from songflow.simulator.requests import GenParams, fingerprint
from songflow.simulator.settings import MODEL_PRICE, SimulatorSettings


@dataclass
class Traffic:
    """What was seen on the wire since the start (not durable; the bill is)."""

    posts: int = 0
    post_answers: Counter[str] = field(default_factory=Counter)
    fetches: int = 0
    fetch_answers: Counter[str] = field(default_factory=Counter)
    downloads: int = 0
    download_answers: Counter[str] = field(default_factory=Counter)
    download_authorizations: int = 0
    images: int = 0

    def as_json(self) -> dict[str, Any]:
        """Answers are counted by status; faults of the wire by the fault's name."""
        return {
            "posts": {"seen": self.posts, "answered": dict(self.post_answers)},
            "fetches": {"seen": self.fetches, "answered": dict(self.fetch_answers)},
            "downloads": {
                "seen": self.downloads,
                "answered": dict(self.download_answers),
                "authorizations": self.download_authorizations,
            },
            "images": {"seen": self.images},
        }


class Gateway:
    """State of one running simulator. `open` before use, `close` after."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self.faults = FaultPlayer(settings.faults, settings.seed)
        self.traffic = Traffic()
        # Unix seconds; tests turn it, so that they need not wait for a job to get on.
        self.clock: Callable[[], float] = time.time
        self.store: JobStore
        self.renders: Renders
        # For a gateway that takes only so many at once: what it has not finished, and what is being taken.
        self.arriving = 0
        self._unfinished: list[Job] = []
        self._temporary: Path | None = None
        # One thread: commits stay in order, and a slow fsync does not hold up the event loop.
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="simulator-bill")

    def open(self) -> None:
        """Create or reopen the state directory. Raises OSError or sqlite3.Error when it cannot be used."""
        directory = self.settings.state_dir
        if directory is None:
            directory = self._temporary = Path(tempfile.mkdtemp(prefix="songflow-simulator-"))
        directory.mkdir(parents=True, exist_ok=True)
        self.store = JobStore(directory / "simulator.sqlite", self.settings.whole_extensions)
        self.renders = Renders(self.settings, self.store, directory / "audio")
        self.renders.fill_pool()

    def close(self) -> None:
        self._writer.shutdown(wait=True)
        self.renders.close()
        self.store.close()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def play(self, script: FaultScript) -> None:
        """Replace the fault script; counts begin anew, generations shaped by the old one are well again."""
        self.faults = FaultPlayer(script, self.settings.seed)

    def bill(self) -> list[BillEntry]:
        return self.store.bill()

    def moment(self, job: Job) -> timing.Moment:
        return timing.moment(self.settings, job, self.clock())

    async def accept(
        self, params: GenParams, body: dict[str, Any], dialect: str, authorization: str | None, **extra: Any
    ) -> Job:
        """Bill a generation: on disk when this returns. `extra`: columns a fault sets."""
        source = params.config.source if params.config.mode != "regular" else None
        generation_id = str(extra.pop("generation_id", None) or uuid.uuid4())
        slot = None
        if self.settings.pool > 0 and source is None:  # an extension must contain its source, so it is made
            slot = int(sha256(generation_id.encode()).hexdigest()[:8], 16) % self.settings.pool
        job = Job(
            generation_id=generation_id,
            submitted_at=self.clock(),
            dialect=dialect,
            body=body,
            price=MODEL_PRICE[params.model_type],
            key_fingerprint=fingerprint(authorization),
            takes=self.settings.takes,
            new_samples=self.settings.new_samples(params.model_type),
            source_song_id=source.song_id if source else None,
            pool_slot=slot,
            **extra,
        )
        await asyncio.get_running_loop().run_in_executor(self._writer, self.store.add, job)
        self.renders.start(job)
        if self.settings.at_once:
            self._unfinished.append(job)
        return job

    def crowded(self) -> bool:
        """Whether it takes no more for now."""
        if not self.settings.at_once:
            return False
        self._unfinished = [job for job in self._unfinished if not self.moment(job).due]
        return len(self._unfinished) + self.arriving >= self.settings.at_once

    def finished_song(self, song_id: str) -> bool:
        """Whether an extension may begin from this song: known, not failed, and its time has come."""
        found = self.store.song(song_id)
        return found is not None and not found[0].fail_reason and self.moment(found[0]).due
