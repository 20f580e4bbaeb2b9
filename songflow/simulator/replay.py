"""Play back what a gateway answered.

Each POST gets the recorded answer of the next generation, and its polls get the recorded reports, the last one again
and again. Addresses in them lead here, where every other GET is answered with a song. A POST without a recorded answer
is read and then dropped, as it was.
"""

from __future__ import annotations

import asyncio
import io
import math
from hashlib import sha256
from urllib.parse import unquote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from songflow.simulator import answers, wire
from songflow.simulator.answers import Report
from songflow.simulator.files import ranged
from songflow.simulator.recording import Replay

_SECONDS = 4.0
_RATE = 44_100


class Replayer:
    """Answers requests from a replay; `requests` are counted by their kind."""

    def __init__(self, replay: Replay, clip_seconds: float | None) -> None:
        self._generations = replay.generations
        self._seconds = clip_seconds or _SECONDS
        self._posted = 0
        self._fetched: dict[int, int] = {}
        self._songs: dict[str, bytes] = {}

    async def post(self, request: Request) -> Response:
        """The recorded answer to the next submit; after the last, that one again."""
        try:
            await request.body()
        except ClientDisconnect:
            return wire.drop()
        number = min(self._posted, len(self._generations) - 1)
        self._posted += 1
        self._fetched[number] = 0
        submitted = self._generations[number].of_kind("submit")
        return wire.respond(submitted[-1].as_answer(request.url.netloc)) if submitted else wire.drop()

    async def get(self, request: Request) -> Response:
        """A recorded report, or for whoever does not ask for JSON a song."""
        if "application/json" in request.headers.get("accept", ""):
            return self._report(request)
        song = await asyncio.to_thread(self._song, request.url.path)
        return wire.respond(ranged(song, request.headers.get("range"), request.headers.get("if-range")))

    def _report(self, request: Request) -> Response:
        number = self._number_of(unquote(str(request.url)))
        generation = self._generations[number]
        visit = self._fetched.get(number, 0)
        self._fetched[number] = visit + 1
        recorded = generation.of_kind("fetch", "poll")
        if recorded:
            return wire.respond(recorded[min(visit, len(recorded) - 1)].as_answer(request.url.netloc))
        waiting = Report(generation.generation_id or "unknown", "IN_PROGRESS", "0%", 0, 0, 0)
        return wire.respond(answers.envelope("b", waiting))

    def _number_of(self, url: str) -> int:
        """The generation of a poll: by its id, else the one that was posted last."""
        newest = max(0, min(self._posted, len(self._generations)) - 1)
        named = [
            number for number, one in enumerate(self._generations) if any(name in url for name in one.ids)
        ]
        posted = [number for number in named if number <= newest]
        return max(posted or named, default=newest)

    def _song(self, path: str) -> bytes:
        """An mp3 with a tone of its own for each address."""
        if path not in self._songs:
            self._songs[path] = _tone(self._seconds, 220 + sha256(path.encode()).digest()[0])
        return self._songs[path]


def _tone(seconds: float, hertz: float) -> bytes:
    import numpy
    import soundfile

    times = numpy.arange(round(seconds * _RATE)) / _RATE
    encoded = io.BytesIO()
    soundfile.write(encoded, 0.3 * numpy.sin(2 * math.pi * hertz * times), _RATE, format="MP3")
    return encoded.getvalue()
