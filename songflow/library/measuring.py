"""Measure songs beside everything else: those that arrive, and those of a library that have no measures yet.

A song that arrived is measured after its row was committed. Long songs go to processes of the lowest priority, which
share neither the interpreter's lock nor the event loop with what submits, polls and downloads; a song of a few seconds
takes less than a process's start, and is measured in a thread. Whatever fails is a line in the log: a song without
measures is complete, and `songflow measure` measures it later.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from songflow.audio.decoding import AudioProblem
from songflow.audio.measures import Measures, measure_song
from songflow.gateways.dialects import key_variables
from songflow.ledger.measures import SongMeasures, Unmeasured
from songflow.ledger.rows import Song
from songflow.runtime.programs import isolated_python
from songflow.settings import FALLBACK_KEY_VARIABLE

__all__ = ["Measured", "MeasuringPool", "measure_missing"]

log = logging.getLogger(__name__)

_CODE = "import sys; sys.path[:] = sys.argv[1:]; from songflow.audio.measuring_process import main; main()"
_AT_ONCE = max(1, min(4, (os.cpu_count() or 1) // 2))
_SHORT_SECONDS = 10.0
_LONGEST_SECONDS = 300.0
_MOST = 1000
_SECONDS_UNTIL_WRITTEN, _IDLE_SECONDS = 1.0, 10.0


@dataclass(slots=True)
class Measured:
    """How many songs were measured, cannot be decoded, and failed for another reason."""

    measured: int = 0
    unreadable: int = 0
    failed: int = 0

    @property
    def all(self) -> int:
        """How many were tried."""
        return self.measured + self.unreadable + self.failed


class MeasuringPool:
    """Songs that wait to be measured, for one event loop; nothing that it does raises or delays its caller.

    Args:
        measures: Where measures are written to, some songs at a time.
        tell: Called after each song.

    Attributes:
        counts: What has been measured.
    """

    def __init__(self, measures: SongMeasures, tell: Callable[[Measured], None] | None = None) -> None:
        self.counts = Measured()
        self._measures = measures
        self._tell = tell
        self._waiting: asyncio.Queue[Unmeasured] = asyncio.Queue(_MOST)
        self._workers: set[asyncio.Task[None]] = set()
        self._found: dict[int, Measures | None] = {}
        self._writing: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    def arrived(self, song: Song) -> None:
        """Measure a song that was stored. Where too many wait already, it is left to `songflow measure`."""
        if song.path is not None:
            with suppress(asyncio.QueueFull):
                self._waiting.put_nowait(Unmeasured(song.id, song.path, song.seconds))
                self._start_worker()

    async def put(self, song: Unmeasured) -> None:
        """Measure a song; waits while too many others wait."""
        await self._waiting.put(song)
        self._start_worker()

    async def close(self, *, patience: float | None) -> None:
        """Finish what waits within so many seconds (None: any time), write what was measured, and leave the rest."""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._waiting.join()
        finally:
            self._closing.set()
            workers = list(self._workers)
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            if self._writing is not None:
                await self._writing
            await self._write()
            if self._waiting.qsize():
                log.info("%d songs are not measured yet: `songflow measure` does it.", self._waiting.qsize())

    def _start_worker(self) -> None:
        if len(self._workers) < _AT_ONCE and (not self._workers or self._waiting.qsize() > 1):
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._worker_ended)

    def _worker_ended(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        # A song may have come just when the worker had waited long enough.
        if self._waiting.qsize() and not self._closing.is_set():
            self._start_worker()

    async def _work(self) -> None:
        process = _Process()
        try:
            while True:
                try:
                    async with asyncio.timeout(_IDLE_SECONDS):
                        song = await self._waiting.get()
                except TimeoutError:
                    return
                try:
                    await self._measure(song, process)
                finally:
                    self._waiting.task_done()
        finally:
            await process.close()

    async def _measure(self, song: Unmeasured, process: _Process) -> None:
        try:
            if song.seconds is not None and song.seconds <= _SHORT_SECONDS and "://" not in song.path:
                found = await asyncio.to_thread(measure_song, song.path)
            else:
                found = await process.measure(song.path)
        except AudioProblem as problem:
            self.counts.unreadable += 1
            log.warning("%s cannot be measured: %s.", song.path, problem)
            self._keep(song, None)
        except Exception as error:
            self.counts.failed += 1
            log.warning("%s was not measured (%s: %s).", song.path, type(error).__name__, error)
        else:
            self.counts.measured += 1
            self._keep(song, found)
        if self._tell is not None:
            self._tell(self.counts)

    def _keep(self, song: Unmeasured, found: Measures | None) -> None:
        self._found[song.id] = found
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_soon())

    async def _write_soon(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_SECONDS_UNTIL_WRITTEN):
                await self._closing.wait()
        await self._write()

    async def _write(self) -> None:
        found, self._found = self._found, {}
        try:
            await self._measures.record(found)
        except Exception as error:
            log.warning("The measures of %d songs were not written (%s).", len(found), error)


class _Process:
    """A process that measures, started when there is something for it to do."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def measure(self, path: str) -> Measures:
        """Measure a song by its path or URL.

        Raises:
            AudioProblem: it cannot be decoded.
            OSError: it cannot be read, or the process ended or took too long.
        """
        try:
            process = self._process = self._process or await _start()
        except (OSError, ValueError, NotImplementedError):  # no process can be started here
            return await asyncio.to_thread(measure_song, path)
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            async with asyncio.timeout(_LONGEST_SECONDS):
                stdin.write(json.dumps(path).encode() + b"\n")
                await stdin.drain()
                line = await stdout.readline()
            if not line:
                raise OSError("the process that measures has ended")
        except BaseException:
            await self.close()
            raise
        return _answered(json.loads(line))

    async def close(self) -> None:
        """End it at once; the song that it measures is left out."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _start() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *isolated_python(_CODE),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is not for it
        env=_environment(),
    )


def _environment() -> dict[str, str]:
    """This process's variables, which a remote store may need, without the keys of gateways."""
    keys = {*key_variables(), FALLBACK_KEY_VARIABLE}
    kept = {name: value for name, value in os.environ.items() if name not in keys}
    return {**kept, "OPENBLAS_NUM_THREADS": "1"}


def _answered(answer: Mapping[str, Any]) -> Measures:
    if "measures" in answer:
        return Measures(**answer["measures"])
    if "unreadable" in answer:
        raise AudioProblem(answer["unreadable"])
    raise OSError(answer["failed"])


async def measure_missing(
    measures: SongMeasures,
    *,
    keys: Sequence[str] | None = None,
    limit: int | None = None,
    tell: Callable[[Measured], None] | None = None,
) -> Measured:
    """Measure the stored songs that have no measures of this version, and write them to the ledger.

    Args:
        keys: Only the takes of these request keys.
        limit: The most songs.
        tell: Called after each song.

    Raises:
        LibraryError: the ledger cannot be read.
    """
    pool, put = MeasuringPool(measures, tell), 0
    if not measures.may_write:
        log.warning("The library may only be read here: songs without measures are not measured.")
        return pool.counts
    try:
        async for song in _missing(measures, keys):
            if put == limit:
                break
            await pool.put(song)
            put += 1
    except BaseException:
        await pool.close(patience=0)
        raise
    await pool.close(patience=None)
    return pool.counts


async def _missing(measures: SongMeasures, keys: Sequence[str] | None) -> AsyncIterator[Unmeasured]:
    parts = [None] if keys is None else [keys[at : at + _MOST] for at in range(0, len(keys), _MOST)]
    for part in parts:
        after, found = 0, await measures.missing(keys=part, limit=_MOST)
        while found:
            for song in found:
                yield song
                after = song.id
            found = await measures.missing(keys=part, after=after, limit=_MOST)
