"""Songs through paid gateways: never paid twice, never lost.

    import songflow
    result = songflow.generate_sync("a slow waltz for two cellos")

The public names are loaded when they are first used, so that `import songflow` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from songflow.accounts import Access, access_from_environment
    from songflow.api import (
        extend,
        extend_sync,
        finish,
        finish_sync,
        generate,
        generate_lyrics,
        generate_lyrics_sync,
        generate_sync,
        make_song,
        make_song_sync,
        manifest,
        manifest_sync,
        read_manifest_sync,
    )
    from songflow.catalog.manifest import read_manifest
    from songflow.errors import SongflowError
    from songflow.families.registry import SongRequest
    from songflow.generation.lifecycle import generate_in, mint_key
    from songflow.generation.lyrics import LyricsResult
    from songflow.generation.results import GenerationResult, SongResult
    from songflow.generation.session import Session
    from songflow.generation.session_settings import SessionSettings
    from songflow.library.library import Library
    from songflow.recipes.results import WholeSong
    from songflow.settings import LibrarySettings

__all__ = [
    "Access",
    "GenerationResult",
    "Library",
    "LibrarySettings",
    "LyricsResult",
    "Session",
    "SessionSettings",
    "SongRequest",
    "SongResult",
    "SongflowError",
    "WholeSong",
    "access_from_environment",
    "extend",
    "extend_sync",
    "finish",
    "finish_sync",
    "generate",
    "generate_in",
    "generate_lyrics",
    "generate_lyrics_sync",
    "generate_sync",
    "make_song",
    "make_song_sync",
    "manifest",
    "manifest_sync",
    "mint_key",
    "read_manifest",
    "read_manifest_sync",
]

_HOMES = {
    "Access": "accounts",
    "GenerationResult": "generation.results",
    "Library": "library.library",
    "LibrarySettings": "settings",
    "LyricsResult": "generation.lyrics",
    "Session": "generation.session",
    "SessionSettings": "generation.session_settings",
    "SongRequest": "families.registry",
    "SongResult": "generation.results",
    "SongflowError": "errors",
    "WholeSong": "recipes.results",
    "access_from_environment": "accounts",
    "extend": "api",
    "extend_sync": "api",
    "finish": "api",
    "finish_sync": "api",
    "generate": "api",
    "generate_lyrics": "api",
    "generate_lyrics_sync": "api",
    "generate_sync": "api",
    "generate_in": "generation.lifecycle",
    "make_song": "api",
    "make_song_sync": "api",
    "manifest": "api",
    "manifest_sync": "api",
    "mint_key": "generation.lifecycle",
    "read_manifest": "catalog.manifest",
    "read_manifest_sync": "api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
