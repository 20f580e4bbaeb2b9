"""Rebuild a request from a song file's metadata, to send it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from songflow.accounts import Access, place_text
from songflow.errors import InputError
from songflow.families.family import Mode, Request
from songflow.families.registry import family_of_fields, parse_request
from songflow.gateways import place_of
from songflow.library.provenance import NoProvenance, SongMetadata, read_provenance

__all__ = ["read_song_metadata", "request_like", "require_source"]


def read_song_metadata(path: Path) -> SongMetadata:
    """Read the metadata in a song file.

    Raises:
        InputError: the file cannot be read, or has no metadata of Songflow.
    """
    try:
        with path.open("rb") as file:
            return read_provenance(file)
    except NoProvenance as reason:
        problem = str(reason)
    except OSError as error:
        problem = f"it cannot be read: {error.strerror or error}"
    raise InputError(
        f"{path} cannot be repeated: {problem}.",
        next="give a song that songflow has stored; nothing was sent.",
    )


def request_like(metadata: SongMetadata, overrides: Mapping[str, Any]) -> Request:
    """The request that made a song, with `overrides` in place of its fields.

    With a model of another family, it has those of the song's fields that this family has.

    Raises:
        InvalidRequest: naming each wrong value.
    """
    fields = metadata.request.fields_with(overrides)
    wanted = family_of_fields(fields).request
    if not isinstance(metadata.request, wanted):
        known = wanted.model_fields.keys() | overrides.keys()
        fields = {name: value for name, value in fields.items() if name in known}
    return parse_request(fields)


def require_source(metadata: SongMetadata, accesses: Sequence[Access]) -> None:
    """Check that every account that may repeat an extension is at the gateway that has its source.

    A song file never chooses the gateway: a key is sent only where its owner says.

    Raises:
        InputError: one of them is another gateway than the song's own.
    """
    home = metadata.provenance.submission
    if metadata.request.mode is Mode.REGULAR:
        return
    for access in accesses:
        if access.place != place_of(home.gateway, home.base_url):
            raise InputError(
                f"The song extends {metadata.request.source_song_id}, which is at "
                f"{place_text(home.gateway, home.base_url)}; {access.place_text} does not have it.",
                next=f"name its own gateway with --gateway {home.gateway} (and --base-url where it is not the "
                "published one, or --credentials); nothing was sent.",
            )
