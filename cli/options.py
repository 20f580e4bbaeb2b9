"""Options that several commands share, as dataclasses that cyclopts flattens into flags.

Those that flows have as well become the parameter groups of `songflow.parameters`.
"""

from __future__ import annotations

import errno
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter, Token

from songflow import parameters
from songflow.documents.text import decoded, marks_removed, plain_text, read_text
from songflow.errors import InputError
from songflow.families.family import Request
from songflow.families.model_names import models_text
from songflow.families.registry import parse_request
from songflow.gateways import DIALECTS, key_variables
from songflow.parameters import (
    FETCH_PATH_TEXT,
    SUBMIT_PATH_TEXT,
    EnvironmentAccount,
    GatewayName,
    KeyedSafety,
)
from songflow.settings import FALLBACK_KEY_VARIABLE, LibrarySettings

__all__ = ["SONG", "Common", "Gateway", "Paying", "Song", "Waiting", "cleaned"]

_GATEWAY = Group("Gateway", sort_key=3)
SONG = Group("Song", sort_key=1)
_PAYING = Group("Paying", sort_key=2)
_COMMON = Group("Common", sort_key=4)

# Without the variables of installed gateways: to ask for them would import their packages for each command.
_CREDENTIALS_HELP = (
    "A Prefect block with the key: NAME or TYPE/NAME. Without it, the key is read from the gateway's own variable ("
    f"{', '.join(key_variables(DIALECTS.ours.values()))}), else from {FALLBACK_KEY_VARIABLE}."
)


def cleaned(text: str | None) -> str | None:
    """A text option without what `"$(cat FILE)"` brings along: byte-order marks and carriage returns."""
    return None if text is None else marks_removed(text)


def _folder(_: object, tokens: Sequence[Token]) -> Path:
    """A folder from the command line; an empty text would be the current one, with another ledger and budget."""
    if not tokens[0].value.strip():
        raise ValueError("--library is empty: give a folder, or leave it out.")
    return Path(tokens[0].value)


@Parameter(name="*", group=_COMMON)
@dataclass(frozen=True)
class Common:
    """Where the library is, and how to print.

    Parameters
    ----------
    library
        The library's folder (default: SONGFLOW_LIBRARY, else ./songs).
    json
        One JSON object on stdout, on failure too.
    quiet
        No log lines and no progress on stderr, only errors.
    """

    library: Annotated[Path | None, Parameter(converter=_folder)] = None
    json: Annotated[bool, Parameter(negative="")] = False
    quiet: Annotated[bool, Parameter(negative="")] = False

    def library_settings(self) -> LibrarySettings:
        """The library that these options and the environment name."""
        return LibrarySettings.from_environment(self.library)

    def existing_library(self) -> LibrarySettings:
        """The same for a command that only reads.

        Raises:
            InputError: the library does not exist.
        """
        settings = self.library_settings()
        if not settings.exists():
            raise InputError(
                f"There is no library at {settings.folder}.", next="name the right one with --library."
            )
        return settings


@Parameter(name="*", group=_GATEWAY)
@dataclass(frozen=True)
class Gateway:
    """Who makes the song.

    Parameters
    ----------
    gateway
        The gateway that makes the song (default: simulator, which needs no key and costs nothing).
    base_url
        The gateway's address, if it is not the published one; with simulator, the address of `songflow simulate`.
    shape
        The shape of a custom gateway's answers: A, B, C or D.
    """

    gateway: GatewayName | None = None
    base_url: str | None = None
    credentials: Annotated[str | None, Parameter(help=_CREDENTIALS_HELP)] = None
    submit_path: Annotated[str | None, Parameter(help=SUBMIT_PATH_TEXT)] = None
    fetch_path: Annotated[str | None, Parameter(help=FETCH_PATH_TEXT)] = None
    shape: Literal["A", "B", "C", "D"] | None = None

    def account(self) -> EnvironmentAccount:
        """These options as a parameter group (without `--credentials`)."""
        return EnvironmentAccount(
            gateway=self.gateway,
            base_url=self.base_url,
            submit_path=self.submit_path,
            fetch_path=self.fetch_path,
            shape=self.shape,
        )

    def check(self) -> None:
        """Raise InputError for options that contradict each other."""
        if self.credentials is not None and (self.gateway or self.base_url):
            raise InputError(
                "--credentials names the gateway and its address itself.",
                next="leave out --gateway and --base-url, or --credentials; nothing was sent.",
            )
        if self.base_url is not None and not self.base_url.strip():
            raise InputError(
                "--base-url is empty.", next="give an address, or leave it out; nothing was sent."
            )
        custom = self.submit_path or self.fetch_path or self.shape
        if custom and self.gateway != "custom":
            raise InputError(
                "--submit-path, --fetch-path and --shape belong to --gateway custom.",
                next="add --gateway custom, or leave them out; nothing was sent.",
            )


@Parameter(name="*", group=_COMMON)
@dataclass(frozen=True)
class Waiting:
    """How to wait.

    Parameters
    ----------
    poll_interval
        Seconds between polls (default: learned from earlier songs; 5 until there are some).
    deadline
        Seconds to wait for one generation (default: 20 minutes plus 10 s per second of music). After that it
        continues at the gateway, and the same --key collects it.
    """

    poll_interval: float | None = None
    deadline: float | None = None

    def group(self) -> parameters.Waiting:
        """These options as a parameter group; `check` them first."""
        return parameters.Waiting(poll_interval=self.poll_interval, deadline=self.deadline)

    def check(self) -> None:
        """Raise InputError for times that cannot be."""
        for name, value, least in (
            ("--poll-interval", self.poll_interval, 0.05),
            ("--deadline", self.deadline, 0.0),
        ):
            if value is not None and not least <= value <= 7 * 86400:
                raise InputError(
                    f"{name} is {value:g}: allowed are {least:g} to 604800 seconds.",
                    next="correct it; nothing was sent.",
                )


@Parameter(name="*", group=_PAYING)
@dataclass(frozen=True)
class Paying:
    """Limits on spending, and what may be sent or paid for again.

    Parameters
    ----------
    key
        Request key: reusing a key returns the same song and never pays twice. Without one, a new key is
        printed on stderr before anything is sent.
    retries
        How often to repeat a request that was certainly not billed (rate limit, no connection), within 60 s.
        A request with an unknown outcome is never sent again.
    retry_errors
        Pay again if this key's generation has failed at the gateway.
    if_unsettled
        If a crashed run left the same request unsettled: stop, or pay for a new one.
    budget
        The most that this command may spend, in the units of the prices.
    fallback
        A gateway to try next, only if the one before has certainly not billed: NAME or NAME=URL, with its key in
        the environment (can be given several times).
    """

    key: str | None = None
    retries: int = 4
    retry_errors: Annotated[bool, Parameter(negative="")] = False
    if_unsettled: Literal["stop", "new"] = "stop"
    budget: float | None = None
    fallback: Annotated[tuple[str, ...], Parameter(negative="")] = ()

    def check(self) -> None:
        """Raise InputError for values that cannot be."""
        if self.budget is not None and not (math.isfinite(self.budget) and self.budget >= 0):
            raise InputError(
                f"--budget is {self.budget:g}: allowed is a number from 0.",
                next="correct it; nothing was sent.",
            )
        if not 0 <= self.retries <= 100:
            raise InputError(
                f"--retries is {self.retries}: allowed are 0 to 100.", next="correct it; nothing was sent."
            )
        if self.key is not None and (
            not self.key.strip() or len(self.key) > 255 or not self.key.isprintable()
        ):
            raise InputError(
                "--key must be a printable text of 1 to 255 characters.", next="correct it; nothing was sent."
            )

    def safety(self, key: str | None = None) -> KeyedSafety:
        """These options as a parameter group; `check` them first."""
        return KeyedSafety(
            key=key,
            if_unsettled=self.if_unsettled,
            retry_errors=self.retry_errors,
            retries=self.retries,
            fallback_gateways=list(self.fallback),
        )


@Parameter(name="*", group=SONG)
@dataclass(frozen=True)
class Song:
    """What the song is like. Options that you leave out have the gateway's default.

    Parameters
    ----------
    lyrics
        The words to sing; the prompt then describes the style.
    lyrics_file
        A text file with the words to sing; - is stdin.
    instrumental
        No words.
    seed
        A seed from 0, or -1 for a random one.
    title
        The song's title, for models that take one.
    negative_prompt
        What the song should not have.
    prompt_strength
        How closely the prompt is followed, 0..1.
    clarity_strength
        Clarity and separation of instruments, 0..1.
    lyrics_strength
        How closely the words are followed, 0..1.
    quality
        0.25, 0.5, 0.75 or 1; higher is better and slower.
    section_start
        Where in the whole song this part starts, 0..1, or auto: the model chooses.
    section_end
        Where in the whole song this part ends, 0..1, or auto: the model chooses.
    lyrics_start
        Where the words start, 0..1, or auto.
    lyrics_end
        Where the words end, 0..1, or auto.
    raw_prompt
        Send the prompt to the model as it is.
    duration
        Length of the song, or of an extension's new part, in seconds. This and what follows are for models that take
        it.
    bpm
        Beats per minute, 30..300.
    key_scale
        The key, such as "F# minor".
    vocal_language
        The language that is sung, such as en or ja.
    inference_steps
        Steps of the model: more are slower.
    batch_size
        How many songs are made, 1..8 (default: 2).
    thinking
        Let a language model plan the song first: better and slower.
    """

    lyrics: str | None = None
    lyrics_file: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None  # for -, stdin
    instrumental: Annotated[bool, Parameter(negative="")] = False
    model: Annotated[
        str | None, Parameter(help=f"The model decides what a request takes. {models_text()}.")
    ] = None
    seed: int | None = None
    title: str | None = None
    negative_prompt: str | None = None
    prompt_strength: float | None = None
    clarity_strength: float | None = None
    lyrics_strength: float | None = None
    quality: float | None = None
    section_start: float | Literal["auto"] | None = None
    section_end: float | Literal["auto"] | None = None
    lyrics_start: float | Literal["auto"] | None = None
    lyrics_end: float | Literal["auto"] | None = None
    raw_prompt: Annotated[bool, Parameter(negative="")] = False
    duration: float | None = None
    bpm: int | None = None
    key_scale: str | None = None
    vocal_language: str | None = None
    inference_steps: int | None = None
    batch_size: int | None = None
    thinking: Annotated[bool, Parameter(negative="")] = False

    def request(self, prompt: str) -> Request:
        """The validated request.

        Raises:
            InputError: naming each wrong value; nothing was sent.
        """
        return parse_request({"prompt": marks_removed(prompt), **self.fields()})

    def fields(self) -> dict[str, Any]:
        """The request's fields that were given, by their wire names.

        Raises:
            InputError: the lyrics cannot be read; nothing was sent.
        """
        lyrics = self._lyrics()
        sung = "user" if lyrics is not None else None  # an empty file does not ask the model for words
        given: dict[str, Any] = {
            "lyrics": lyrics,
            "lyrics_type": "instrumental" if self.instrumental else sung,
            "model_type": self.model,
            "seed": self.seed,
            "title": cleaned(self.title),
            "negative_prompt": cleaned(self.negative_prompt),
            "prompt_strength": self.prompt_strength,
            "clarity_strength": self.clarity_strength,
            "lyrics_strength": self.lyrics_strength,
            "generation_quality": self.quality,
            "song_section_start": self.section_start,
            "song_section_end": self.section_end,
            "lyrics_placement_start": self.lyrics_start,
            "lyrics_placement_end": self.lyrics_end,
            "bypass_prompt_optimization": self.raw_prompt or None,
            "duration": self.duration,
            "bpm": self.bpm,
            "key_scale": cleaned(self.key_scale),
            "vocal_language": self.vocal_language,
            "inference_steps": self.inference_steps,
            "batch_size": self.batch_size,
            "thinking": self.thinking or None,
        }
        return {name: value for name, value in given.items() if value is not None}

    def _lyrics(self) -> str | None:
        if self.lyrics_file is None:
            return cleaned(self.lyrics)
        if self.lyrics is not None:
            raise InputError(
                "--lyrics and --lyrics-file were both given.", next="give one of them; nothing was sent."
            )
        try:
            if self.lyrics_file == "-" and sys.stdin is None:
                raise OSError(errno.EBADF, "stdin is closed")
            if self.lyrics_file == "-":  # independent of the terminal's encoding
                return plain_text(decoded(sys.stdin.buffer.read()))
            return read_text(Path(self.lyrics_file))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f"The lyrics file {self.lyrics_file} cannot be read: {reason}.",
                next="correct the path; nothing was sent.",
            ) from None
