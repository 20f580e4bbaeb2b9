"""Song objects: the documented fields, marked so that no simulated song is mistaken for a real one."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from songflow.simulator.dialects import DIALECTS
from songflow.simulator.jobs import Job
from songflow.simulator.synth.style import style_tags
from songflow.simulator.synth.words import sung_lyrics

ARTIST = "Songflow Simulator"
COMMENT = "A simulation: synthesised by songflow's simulated gateway, not by Udio."


def comment_of(job: Job) -> str:
    """The comment in a song's file, with the name of the model family that it stands for."""
    family = DIALECTS[job.dialect].family if job.dialect in DIALECTS else "Udio"
    return COMMENT.replace("Udio", family)


_FIRST = (
    "Whispers",
    "Echoes",
    "Shadows",
    "Rivers",
    "Letters",
    "Colours",
    "Lanterns",
    "Fragments",
    "Edges",
    "Voices",
)
_LINK = ("of", "over", "beyond", "beneath", "before", "without")
_LAST = (
    "Rain",
    "the Storm",
    "Morning",
    "the City",
    "Silence",
    "the Tide",
    "Winter",
    "Tomorrow",
    "the Valley",
    "Dust",
)
# As on the real gateway, whose upstream sets created_at before the gateway sets submit_time.
_CREATED_BEFORE_SUBMIT = 1.58

HOSTILE_TITLES = (
    "../../../etc/passwd",
    "..\\..\\windows\\system32\\drivers",
    "nul\x00byte\x1b[31m\r\nheader: no",
    "x" * 300,
    "🎸🔥" * 60,
    "CON",
    "aux.mp3",
    ".hidden.",
    "<script>alert('title')</script><img src=x onerror=alert(1)>",
    "[click](javascript:alert(1)) | `code` | **bold**\n# heading",
    '100% 50/50? a:b*c|d"e',
    '=HYPERLINK("http://example.invalid")',
    "\u202egnp.exe",
    "   ",
    "",
)


@dataclass(frozen=True)
class Take:
    """One song of a job in its current state. A fault may have replaced `title`."""

    job: Job
    number: int
    title: str
    seconds: float
    finished: bool

    @property
    def song_id(self) -> str:
        return self.job.song_ids[self.number - 1]


def title_of(job: Job, take: int) -> str:
    """A title per take, which always says that the song is simulated."""
    luck = random.Random(f"title:{job.luck}:{take}")
    return f"{luck.choice(_FIRST)} {luck.choice(_LINK)} {luck.choice(_LAST)} (simulated)"


def tags_of(job: Job) -> list[str]:
    return [*style_tags(job.params), "simulation"]


def lyrics_of(job: Job, take: int) -> str:
    """The lyrics: the user's, generated ones for `generate`, none for an instrumental."""
    return sung_lyrics(job.params, f"{job.luck}:{take}")


def file_path(job: Job, take: int, title: str) -> str:
    """The path of a song's file. The title is percent-encoded twice, as on the real host, and bound to it by a hash."""
    name = quote(quote(f"{title}.mp3", safe=""), safe="")
    return f"/files/{job.path_hash}{_seal(job, take, title)}/{take}/{name}"


def _seal(job: Job, take: int, title: str) -> str:
    return sha256(f"{job.generation_id}\0{take}\0{title}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def song_object(take: Take, base_url: str) -> dict[str, Any]:
    """The JSON object of a take; its addresses are empty until it is finished."""
    job, number = take.job, take.number
    tags = tags_of(job)
    created = datetime.fromtimestamp(job.submitted_at - _CREATED_BEFORE_SUBMIT, UTC)
    return {
        "id": take.song_id,
        "tags": tags,
        "liked": False,
        "likes": 0,
        "plays": 0,
        "title": take.title,
        "artist": ARTIST,
        "lyrics": lyrics_of(job, number),
        "prompt": job.prompt,
        "user_id": "00000000-0000-4000-8000-00000051a100",
        "disliked": False,
        "duration": take.seconds,
        "error_id": None,
        "finished": take.finished,
        "song_path": base_url + file_path(job, number, take.title) if take.finished else None,
        "user_tags": [],
        "created_at": created.isoformat(),
        "error_code": None,
        "error_type": None,
        "image_path": f"{base_url}/images/{job.path_hash}/{number}/public",
        "video_path": None,
        "attribution": "",
        "description": COMMENT,
        "publishable": True,
        "artist_image": None,
        "error_detail": None,
        "published_at": None,
        "generation_id": job.generation_id,
        "replaced_tags": {job.prompt: {"tags": tags, "type": "tags"}},
        "original_song_path": None,
        "audio_conditioning_type": None if job.mode == "regular" else job.mode,
    }


def failed(song: dict[str, Any], error_type: str, detail: str) -> dict[str, Any]:
    """The song object of a failed take."""
    return {
        **song,
        "finished": False,
        "song_path": None,
        "error_id": sha256(f"error:{song['id']}".encode()).hexdigest()[:16],
        "error_code": "500",
        "error_type": error_type,
        "error_detail": detail,
    }
