"""Results as HTML: players within their size, the facts of a take, and hostile texts."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import pytest

from songflow.audio.decoding import AudioReader
from songflow.generation import lifecycle
from songflow.generation.results import GenerationResult, SongResult, as_plain_data
from songflow.notebooks import html, player
from songflow.notebooks.html import Origin
from songflow.recipes.results import WholeSong

HOSTILE = "<script>alert('1')</script> \"onerror=x $\\href{javascript:alert(1)}{y}$ \x1b[31m\n\u202e"


def sounds(text: str) -> list[bytes]:
    return [base64.b64decode(found) for found in re.findall(r'src="data:[\w/]+;base64,([^"]+)"', text)]


def seconds(sound: bytes) -> float:
    with AudioReader(io.BytesIO(sound)) as audio:
        return sum(len(block) for block in audio.blocks()) / audio.rate


async def test_a_result_shows_its_takes_parameters_and_cost(stored) -> None:
    """What all takes share is shown once; a song by itself shows it, too; data for JSON has none of it."""
    opened, songs = await stored(prompt="a slow waltz", seed=4, prompt_strength=0.5)
    result = await lifecycle.result(opened, songs[0].submission_id)
    text = result._repr_html_()
    assert sounds(text) == [Path(song.path).read_bytes() for song in songs]
    assert text.count("prompt: <i>a slow waltz</i>") == 1
    assert "seed: <i>4</i>" in text
    assert "model_type: <i>udio32-v1.5</i>" in text
    assert "lyrics" not in text
    assert "cost of the generation: 1 unit, simulated: nothing is billed" in text
    for song in result.songs:
        assert f"<b>{song.title}</b> · {song.duration:.1f} s" in text
        assert "cost of the generation: 1 unit" in song._repr_html_()
        assert len(sounds(song._repr_html_())) == 1
    assert "origin" not in str(result.as_dict())
    assert "origin" not in repr(result)


async def test_players_stay_within_the_size_of_an_output(stored, monkeypatch) -> None:
    """A longer song is embedded from its beginning, and says so; what is no mp3 is not cut."""
    opened, songs = await stored()
    result = await lifecycle.result(opened, songs[0].submission_id)
    whole = Path(result.songs[0].path).stat().st_size
    monkeypatch.setattr(html, "MOST_EMBEDDED_BYTES", whole)
    text = result._repr_html_()
    assert len(sounds(text)) == 2
    assert sum(map(len, sounds(text))) <= whole
    assert all(0.2 < seconds(sound) < 0.9 for sound in sounds(text))
    assert text.count("The first ") == 2
    other = Path(result.songs[0].path).with_suffix(".wav")
    other.write_bytes(b"RIFF" + bytes(5000))
    assert "too large to embed" in player.player(str(other), 4000)
    assert "data:audio/wav;base64," in player.player(str(other), 6000)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("https://host/a.mp3?x=1&y=\"'", 'src="https://host/a.mp3?x=1&amp;y=&quot;&#x27;"'),
        ("s3://bucket/a.mp3", "cannot be played here"),
        ("/not/there.mp3", "cannot be read (No such file"),
        ("/not\x00/there.mp3", "cannot be read"),
        ("javascript://%0aalert(1)", "cannot be played here"),
        ("http://[", "cannot be played here"),
    ],
    ids=str,
)
def test_other_places_have_an_address_or_a_reason(path: str, shown: str) -> None:
    """Nothing is fetched, and nothing raises."""
    text = player.player(path)
    assert shown in text
    assert ("<audio" in text) == path.startswith("https")


def test_hostile_texts_are_escaped_everywhere() -> None:
    """Titles, ids, errors, paths and parameters; and MathJax, whose links run scripts, leaves the output alone."""
    origin = Origin({"prompt": HOSTILE, HOSTILE: HOSTILE}, HOSTILE)
    takes = (
        SongResult(HOSTILE, HOSTILE, 1.0, f"/no/{HOSTILE}.mp3", "0", None, origin),
        SongResult(HOSTILE, None, None, None, None, HOSTILE),
    )
    result = GenerationResult(HOSTILE, HOSTILE, HOSTILE, "yes", 1.0, takes)
    whole = WholeSong(HOSTILE, HOSTILE, None, HOSTILE, "yes", 1.0, takes, ())
    for shown in (result, whole, *takes):
        text = shown._repr_html_()
        assert "alert(&#x27;1&#x27;)" in text
        tags = re.sub(r"</?(?:div|p|b|br|i|small|code)(?: [^<>]*)?>", "", text)
        assert not re.search(r'[<>"\x1b\n\u202e]', tags)
        assert text.startswith('<div class="tex2jax_ignore mathjax_ignore"')
    assert as_plain_data(takes[0])["title"] == HOSTILE
