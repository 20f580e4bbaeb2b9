"""Songflow from plain Python: from a request to songs on disk, without Prefect, asynchronous and synchronous.

Each function takes the parameter groups of `songflow.parameters`, as models or as mappings of their fields:
`await generate("a slow waltz", account={"gateway": "NAME"}, safety={"key": "monday"})`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from songflow.catalog.judging import find_songs
from songflow.errors import InputError
from songflow.families.parameter_group import ParameterGroup
from songflow.families.parameters import (
    ExtensionDetails,
    ExtensionPlacement,
    ExtensionSound,
    Placement,
    Sound,
)
from songflow.families.registry import parse_request
from songflow.generation.extensions import plan_extension
from songflow.generation.lifecycle import generate_in, mint_key
from songflow.generation.lyrics import LyricsResult, request_for
from songflow.generation.policy import PayingPolicy
from songflow.generation.results import GenerationResult
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from songflow.library.library import Library
from songflow.notebooks.progress import Report, Shown, shown_progress
from songflow.parameters import EnvironmentAccount, KeyedSafety, Waiting, members, session_settings
from songflow.recipes.crew import Order
from songflow.recipes.making import make_whole_song
from songflow.recipes.model import Recipe
from songflow.recipes.plain import PlainCrew, settings_for
from songflow.recipes.results import WholeSong
from songflow.recipes.shelf import find_recipe
from songflow.runtime.run_sync import synchronous
from songflow.settings import LibrarySettings

if TYPE_CHECKING:
    import pandas

    from songflow.ledger.finished import FinishedCopy

__all__ = [
    "extend",
    "extend_sync",
    "finish",
    "finish_sync",
    "generate",
    "generate_lyrics",
    "generate_lyrics_sync",
    "generate_sync",
    "make_song",
    "make_song_sync",
    "manifest",
    "manifest_sync",
    "read_manifest_sync",
]

Fields = Mapping[str, Any]
Folder = str | PathLike[str]


async def generate(
    prompt: str,
    *,
    sound: Sound | Fields | None = None,
    placement: Placement | Fields | None = None,
    account: EnvironmentAccount | Fields | None = None,
    waiting: Waiting | Fields | None = None,
    safety: KeyedSafety | Fields | None = None,
    library: Folder | None = None,
    budget: float | None = None,
    settings: SessionSettings | None = None,
    progress: Shown = None,
    **fields: Any,
) -> GenerationResult:
    """Make songs: submit one paid generation, wait for it, store its songs.

    Args:
        prompt: What the song is like.
        sound: Strengths and quality.
        placement: Which section of a whole song this is, and where the lyrics are sung.
        account: A gateway whose key is in the environment (None: the built-in simulator; no key, no cost).
        waiting: Poll interval and deadline.
        safety: The request key (None: a new one is minted), and what may be sent or paid for again.
        library: The library's folder (None: SONGFLOW_LIBRARY, else `./songs`).
        budget: The most that this call may spend, in the units of the prices.
        settings: Further settings of the session, such as the speed of the built-in simulator.
        progress: Show the request key and the progress as text: in notebooks and terminals (None), always or never,
            or a coroutine function to call after each poll.
        **fields: Any other field of the request, as `SongRequest` has them; `model_type` decides which there are.

    Raises:
        SongflowError: the tree of `songflow.errors`; each message says what it cost and what to do next.
    """
    _refuse_flat(fields, sound=Sound, placement=Placement, **_PAYING)
    safe = KeyedSafety.of(safety, "safety")
    request = parse_request(
        {
            "prompt": prompt,
            **Sound.of(sound, "sound").chosen(),
            **Placement.of(placement, "placement").chosen(),
            **fields,
        }
    )
    access = EnvironmentAccount.of(account, "account").access()
    key, policy = safe.key or mint_key(), safe.policy()
    chosen = _settings(waiting, safe, budget, settings)
    async with Session(_library(library), chosen) as session, shown_progress(progress, prompt, key) as report:
        return await generate_in(session, request, access, key=key, policy=policy, progress=report)


async def extend(
    song_id: str,
    *,
    place: str | None = None,
    sound: ExtensionSound | Fields | None = None,
    placement: ExtensionPlacement | Fields | None = None,
    details: ExtensionDetails | Fields | None = None,
    account: EnvironmentAccount | Fields | None = None,
    waiting: Waiting | Fields | None = None,
    safety: KeyedSafety | Fields | None = None,
    library: Folder | None = None,
    budget: float | None = None,
    settings: SessionSettings | None = None,
    progress: Shown = None,
    **overrides: Any,
) -> GenerationResult:
    """Extend a song, at the gateway that made it. What is not given is inherited from the song.

    Args:
        song_id: The gateway's id of the song, as `songflow songs` shows it.
        place: "intro", "front", "back" or "outro" (None: as `placement` says, or outro).
        sound: Model, strengths and quality, where they differ from the song's.
        placement: Mode, context length and sections.
        details: For models that continue a song at a second of it: where, and whether the new part is joined.
        account: None: the song's own. For a song that is not in this library: the gateway that has it.
        **overrides: Other fields of the request; a song that is not in this library needs `prompt`.

    The other arguments are those of `generate`.

    Raises:
        SongflowError: the tree of `songflow.errors`; each message says what it cost and what to do next.
    """
    _refuse_flat(
        overrides, sound=ExtensionSound, placement=ExtensionPlacement, details=ExtensionDetails, **_PAYING
    )
    safe = KeyedSafety.of(safety, "safety")
    policy, named = safe.policy(), EnvironmentAccount.of(account, "account")
    placed = ExtensionPlacement.of(placement, "placement").given()
    mode, more = placed.pop("mode", None), ExtensionDetails.of(details, "details")
    chosen = replace(_settings(waiting, safe, budget, settings), join=more.join)
    async with Session(_library(library), chosen) as session:
        planned = await plan_extension(
            session,
            song_id,
            None if named.is_empty else named.access(),
            mode=mode,
            place=place,
            overrides={
                **ExtensionSound.of(sound, "sound").given(),
                **placed,
                **more.fields(),
                **overrides,
            },
            fallbacks=policy.fallbacks,
        )
        key = safe.key or mint_key()
        async with shown_progress(progress, f"an extension of {song_id}", key) as report:
            return await generate_in(
                session, planned.request, planned.access, key=key, policy=policy, progress=report
            )


async def generate_lyrics(
    prompt: str,
    *,
    model_type: str | None = None,
    account: EnvironmentAccount | Fields | None = None,
    waiting: Waiting | Fields | None = None,
    safety: KeyedSafety | Fields | None = None,
    library: Folder | None = None,
    budget: float | None = None,
    settings: SessionSettings | None = None,
    progress: Shown = None,
) -> LyricsResult:
    """Let a gateway write lyrics: one paid generation of texts, which the ledger keeps.

    The first of them is `text`, to be sung by `generate("a style", lyrics=result.text)`.

    Args:
        prompt: What they are about.
        model_type: Whose generator of lyrics is asked (None: the one that the gateway has).

    The other arguments are those of `generate`.

    Raises:
        SongflowError: the tree of `songflow.errors`; each message says what it cost and what to do next.
    """
    safe = KeyedSafety.of(safety, "safety")
    access = EnvironmentAccount.of(account, "account").access()
    request, key = request_for(prompt, access, model_type), safe.key or mint_key()
    chosen = _settings(waiting, safe, budget, settings)
    async with Session(_library(library), chosen) as session, shown_progress(progress, prompt, key) as report:
        made = await generate_in(session, request, access, key=key, policy=safe.policy(), progress=report)
    return LyricsResult.of(made)


async def make_song(
    recipe: str | Mapping[str, Any],
    *,
    variables: Mapping[str, Any] | None = None,
    choices: Mapping[str, str] | None = None,
    account: EnvironmentAccount | Fields | None = None,
    waiting: Waiting | Fields | None = None,
    safety: KeyedSafety | Fields | None = None,
    library: Folder | None = None,
    budget: float | None = None,
    settings: SessionSettings | None = None,
    progress: Shown = None,
) -> WholeSong:
    """Make a whole song from a recipe; each step is paid for once.

    Args:
        recipe: The name of a shipped recipe, a file, YAML text, or the same as plain data.
        variables: The values of the recipe's `${...}`.
        choices: Takes chosen in advance, by step: `{"core": "2"}`.
        safety: With a request key, continue what was begun under it (None: a new song).
        progress: As of `generate`; the status begins with the step, as in "step 2 of 3 (intro) running".

    The other arguments are those of `generate`.

    Raises:
        InvalidDocument: with every fault of the recipe; nothing was sent.
        ChoiceNeeded: a step asks for a person's choice; call again with the same key and that in `choices`.
        SongflowError: a step's own failure; stored songs stay, and the same key continues from there.
    """
    safe = KeyedSafety.of(safety, "safety")
    access, policy = EnvironmentAccount.of(account, "account").access(), safe.policy()
    read = find_recipe(recipe, variables or {}, access.prices)
    key = safe.key or mint_key()
    chosen = settings_for(read, key, _settings(waiting, safe, budget, settings))
    async with (
        Session(_library(library), chosen) as session,
        shown_progress(progress, read.name, key) as report,
    ):
        crew = _StepCrew(session, replace(policy, fallbacks=()), report, read)
        return await make_whole_song(
            session, read, policy.accounts(access), crew, key=key, choices=choices or {}
        )


async def finish(song: str, *, library: Folder | None = None, **settings: Any) -> FinishedCopy:
    """Make a copy of a stored song that is trimmed, faded and brought to a loudness; the song is not changed.

    The same settings give the same file, which is made once.

    Args:
        song: The song's id or its beginning, or its file.
        library: The library's folder (None: SONGFLOW_LIBRARY, else `./songs`).
        **settings: Those of `songflow.audio.finishing.FinishSettings`, such as `format="flac"` or `loudness=-16`.

    Raises:
        InputError: there is no such song or setting, or its file cannot be read or written; nothing was changed.
        LibraryError: the store or the ledger cannot be used.
    """
    from songflow.library.finishing import finish_settings, finish_song

    how, opened = finish_settings(settings), _library(library)
    if not opened.exists():
        raise InputError(f"There is no library at {opened.folder}.", next="name the right one.")
    async with Library(opened) as found:
        [row, *_] = await find_songs(found.ledger, song)
        return await finish_song(found, row, how)


async def manifest(library: Folder | None = None) -> pandas.DataFrame:
    """Read a library's manifest: a typed frame with one row per take, and one per generation without any.

    A library that does not exist yet has no rows, and is not created.

    Args:
        library: Its folder (None: SONGFLOW_LIBRARY, else `./songs`).

    Returns:
        `songflow.catalog.manifest.COLUMNS` with their dtypes, oldest first.

    Raises:
        LibraryError: the ledger cannot be read.
    """
    from songflow.catalog.manifest import empty_manifest, read_manifest  # it imports pandas, which is slow

    settings = _library(library)
    if not settings.exists():
        return empty_manifest()
    async with Library(settings, reads_only=True) as opened:
        return await read_manifest(opened.ledger)


finish_sync = synchronous(finish, "songflow.finish")
generate_sync = synchronous(generate, "songflow.generate")
extend_sync = synchronous(extend, "songflow.extend")
generate_lyrics_sync = synchronous(generate_lyrics, "songflow.generate_lyrics")
make_song_sync = synchronous(make_song, "songflow.make_song")
manifest_sync = synchronous(manifest, "songflow.manifest")
read_manifest_sync = manifest_sync
"""The former name of `manifest_sync`."""

_PAYING: Mapping[str, type[ParameterGroup]] = {
    "account": EnvironmentAccount,
    "waiting": Waiting,
    "safety": KeyedSafety,
}


class _StepCrew(PlainCrew):
    """Names the step in the progress of each generation; several may be made at once."""

    def __init__(
        self, session: Session, policy: PayingPolicy, progress: Report | None, recipe: Recipe
    ) -> None:
        super().__init__(session, policy, progress)
        self._recipe = recipe

    async def progress_of(self, order: Order) -> Report | None:
        """The callback that the wait for this generation reports to."""
        report = await super().progress_of(order)
        if report is None:
            return None

        async def named(word: str, share: float | None, seconds: float) -> None:
            await report(f"{self._recipe.place_name(order.path)} {word}", share, seconds)

        return named


def _library(folder: Folder | None) -> LibrarySettings:
    return LibrarySettings.from_environment(None if folder is None else fspath(folder))


def _settings(
    waiting: Waiting | Fields | None,
    safety: KeyedSafety,
    budget: float | None,
    settings: SessionSettings | None,
) -> SessionSettings:
    return session_settings(Waiting.of(waiting, "waiting"), safety, budget, settings)


def _refuse_flat(given: Mapping[str, Any], **groups: type[ParameterGroup]) -> None:
    """Raise InputError for parameters that are in a group but were given by themselves."""
    places = members(**groups)
    flat = [f"{name} is now {places[name]}" for name in given if name in places]
    if flat:
        raise InputError(
            f"The parameters are in groups: {'; '.join(flat)}.", next="correct the call; nothing was sent."
        )
