"""Rebuild a song's request from its file and send it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from songflow.errors import InputError, InvalidRequest
from songflow.families.udio import LyricsType
from songflow.generation.lifecycle import generate_in
from songflow.generation.repeats import read_song_metadata, request_like, require_source


async def test_a_request_is_rebuilt_from_a_file_and_overrides_replace_its_fields(stored: Any) -> None:
    """Its body is the same; overrides are validated like any request."""
    _, songs = await stored(lyrics="La la", seed=3, song_section_end=0.9)
    metadata = read_song_metadata(Path(songs[0].path))
    assert request_like(metadata, {}) == metadata.request
    other = request_like(metadata, {"prompt": "a march", "seed": 4})
    assert other == metadata.request.model_copy(update={"prompt": "a march", "seed": 4})
    with pytest.raises(InvalidRequest, match="seed is -5"):
        request_like(metadata, {"seed": -5})


async def test_given_lyrics_replace_those_of_the_file(stored: Any) -> None:
    """Own lyrics, none, or generated ones."""
    _, songs = await stored(lyrics="La la")
    metadata = read_song_metadata(Path(songs[0].path))
    assert request_like(metadata, {"lyrics": "Lo lo"}).lyrics == "Lo lo"
    silent = request_like(metadata, {"lyrics_type": "instrumental"})
    assert (silent.lyrics, silent.lyrics_type) == ("", LyricsType.INSTRUMENTAL)


async def test_an_extension_is_repeated_only_at_the_gateway_of_its_source(
    stored: Any, access: Any, song_request: Any
) -> None:
    """Any account of that gateway, no other gateway, and none that only the file names."""
    opened, songs = await stored()
    (home,) = await opened.library.ledger.submissions.of_key("key")
    way, other = access(home.base_url), access("http://127.0.0.1:1")
    require_source(read_song_metadata(Path(songs[0].path)), [other])
    request = song_request("an outro", mode="continuation", source_song_id=songs[0].song_id)
    longer = await generate_in(opened, request, way, key="longer")
    metadata = read_song_metadata(Path(longer.songs[0].path))
    assert request_like(metadata, {}) == request
    require_source(metadata, [access(home.base_url, alias="another")])
    for wrong in ([other], [way, other], [access(home.base_url, "cometapi", key="sk-x")]):
        with pytest.raises(InputError, match="does not have it") as caught:
            require_source(metadata, wrong)
        assert "--gateway simulator" in str(caught.value.next)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file"),
        (b"", "has no Songflow metadata"),
        (b"ID3\x04\0\0\0\0\0\0", "no Songflow metadata"),
    ],
)
def test_a_file_without_metadata_is_refused(content: bytes | None, problem: str, tmp_path: Path) -> None:
    """With a readable reason, before anything is sent."""
    path = tmp_path / "song.mp3"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=problem):
        read_song_metadata(path)
