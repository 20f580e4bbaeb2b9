"""A report as files: a self-contained page that escapes text, pictures, and a table."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from songflow.catalog.manifest import COLUMNS
from songflow.errors import InputError
from songflow.reports import Report, make_report, write_report
from songflow.reports.best import MOST_BEST, best_cells
from songflow.reports.page import MOST_FIELDS, MOST_SONGS, effect_rows, player_url

HOSTILE = "<script>alert('1')</script> $\\frac{1}{2}$ \x00\u202e"


def varied(manifest, count: int = 24, **more) -> pd.DataFrame:
    """Songs whose loudness depends on the prompt strength, and whose length on the words."""
    luck = np.random.default_rng(4)
    return manifest(
        *(
            {
                "request.prompt": ("a slow waltz", HOSTILE)[number % 4 // 2],
                "request.prompt_strength": 0.25 * (1 + number // 2 % 4),
                "rms_db": -20.0 + number // 2 % 4 + luck.normal(0, 0.1),
                "seconds": 30.0 + number % 4 // 2,
                "rating": float(number % 6),
                **more,
            }
            for number in range(count)
        )
    )


# Drawing takes most of the CPU of these tests, so some of them look at the same report, in one process.
shares_a_report = pytest.mark.xdist_group("report")


@pytest.fixture(scope="module")
def drawn(manifest) -> Report:
    """The report of `varied` songs."""
    return make_report(varied(manifest), "Old")


@shares_a_report
def test_a_report_is_reproducible(manifest, drawn: Report) -> None:
    """Pictures for each field, for the pair, and for all; byte for byte, and without changing the frame."""
    frame = varied(manifest)
    before = frame.copy(deep=True)
    first, second = drawn, make_report(frame, "Again")
    assert [picture.name for picture in first.pictures] == [
        "effect-prompt",
        "effect-prompt_strength",
        "heat-prompt-prompt_strength",
        "parallel",
    ]
    assert first.pictures == second.pictures
    pd.testing.assert_frame_equal(frame, before)
    for picture in first.pictures:
        image = Image.open(io.BytesIO(picture.data)).convert("RGB")
        assert image.width > 400
        assert len(image.getcolors(1 << 24)) > 20, f"{picture.name} is blank"


@shares_a_report
def test_effects_on_the_rating_come_first_then_the_strongest(drawn: Report) -> None:
    """As rows for display, the same for the page and for Prefect; length and cost are last, however strong."""
    rows = list(effect_rows(drawn.effects))
    assert [row["outcome"].partition(" (")[0] for row in rows] == [
        *["rating"] * 2,
        *["loudness", "crest factor"],
        *["loudness", "crest factor"],
        *["length"] * 2,
    ]
    assert [row["field"] for row in rows[2:6]] == ["prompt_strength"] * 2 + ["prompt"] * 2
    assert rows[6]["strength"] == "1.00"
    assert float(rows[2]["strength"]) > 0.95
    assert rows[2]["highest"].endswith("at 1")
    assert [outcome.name for outcome, _ in drawn.same] == ["failed", "cost"]
    assert [field.name for field in drawn.fields] == list(dict.fromkeys(row["field"] for row in rows))


def test_the_best_cells_are_the_best_rated_with_stored_takes(manifest, tmp_path: Path) -> None:
    """With their fields and players; a rated take that is gone, or an unrated one, makes none."""
    ratings = [5.0, None, 4.0, 3.0, None, None, 5.0, 5.0, 4.5, 4.5]
    rows = [{"rating": rating, "request.seed": number // 2} for number, rating in enumerate(ratings)]
    rows += [{"rating": 5.0, "song_state": "failed", "path": None}] * 2
    report = make_report(manifest(*rows), "Best")
    best = best_cells(report)
    assert [(cell.key, cell.rating, cell.rated) for cell in best] == [
        ("key-3", 5.0, 2),
        ("key-0", 5.0, 1),
        ("key-4", 4.5, 2),
        ("key-1", 3.5, 2),
    ]
    assert dict(best[1].fields)["seed"] == "0"
    assert [song["song_id"] for song in best[3].songs] == ["song-2", "song-3"]
    html = write_report(report, tmp_path).read_text()
    part = html[html.index("Best cells") : html.index("<h2>Songs")]
    assert part.count("<article>") == 4
    assert part.count("<audio") == 8
    many = make_report(manifest(*({"rating": 1.0} for _ in range(40))), "Many")
    assert len(best_cells(many)) == MOST_BEST
    unrated = write_report(make_report(manifest({}, {}), "None"), tmp_path).read_text()
    assert "No song is rated yet. Rate some with <code>songflow listen</code>" in unrated


def test_the_table_is_no_wider_than_some_fields(
    manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are in the CSV, and the page says how many. Its many pictures are not drawn."""
    monkeypatch.setattr("songflow.reports.report._pictures", lambda *_: [])
    names = [name for name, kind in COLUMNS.items() if name.startswith("request.") and kind == "Float64"]
    rows = [dict.fromkeys(names, 0.1 * (number % 5)) | {"rating": 1.0 * (number % 5)} for number in range(20)]
    report = make_report(manifest(*rows), "Wide")
    assert len(report.fields) > MOST_FIELDS
    html = write_report(report, tmp_path).read_text()
    songs = html[html.index("<h2>Songs") :]
    assert f"{len(report.fields) - MOST_FIELDS} more fields are only there" in songs
    assert songs.count("<th>") == 2 + MOST_FIELDS + len(report.outcomes)


def test_the_page_is_self_contained_and_escapes_hostile_text(manifest, tmp_path: Path) -> None:
    """No URL except those of songs, every picture embedded, and a policy that allows only its own script."""
    frame = varied(manifest, title=HOSTILE, error=HOSTILE, path=str(tmp_path / "audio/a #1 ?.mp3"))
    report = make_report(frame, HOSTILE)
    page = write_report(report, tmp_path / "deep" / "report")
    html = page.read_text(encoding="utf-8")
    assert "<script>alert" not in html
    assert html.count("<script>") == 1
    assert "&lt;script&gt;alert(&#39;1&#39;)" in html
    assert set(re.findall(r'(?:src|href)="(?!data:)([^"]*)"', html)) == {
        "../../audio/a%20%231%20%3F.mp3",
        "songs.csv",
    }
    inside = [base64.b64decode(data) for data in re.findall(r'src="data:image/png;base64,([^"]+)"', html)]
    assert inside == [picture.data for picture in report.pictures]
    assert "default-src &#39;none&#39;" in html
    beside = {file.name: file.read_bytes() for file in (page.parent / "plots").iterdir()}
    assert beside == {f"{picture.name}.png": picture.data for picture in report.pictures}
    table = pd.read_csv(page.parent / "songs.csv")
    assert len(table) == 24
    assert {"request.prompt_strength", "crest_db", "tempo", "cost"} <= set(table.columns)


@shares_a_report
def test_an_old_report_in_the_folder_is_replaced(manifest, drawn: Report, tmp_path: Path) -> None:
    """Its pictures are removed; other files stay."""
    write_report(drawn, tmp_path)
    (tmp_path / "plots" / "mine.png").write_bytes(b"mine")
    write_report(make_report(varied(manifest), "New", fields=["prompt"]), tmp_path)
    assert {file.name for file in (tmp_path / "plots").iterdir()} == {
        "effect-prompt.png",
        "parallel.png",
        "mine.png",
    }
    assert "New" in (tmp_path / "report.html").read_text()


def test_a_report_where_nothing_varied_says_so(manifest, tmp_path: Path) -> None:
    """Songs are listed all the same, and a generation without one with its reason."""
    frame = manifest(
        {}, {}, {"state": "failed", "song_state": None, "path": None, "title": None, "error": "moderated"}
    )
    report = make_report(frame, "Alike")
    assert report.pictures == ()
    html = write_report(report, tmp_path).read_text()
    assert "No field of the request varied" in html
    assert "no song: failed" in html
    assert "moderated" in html


def test_a_long_page_shows_the_first_songs_and_names_the_table(manifest, tmp_path: Path) -> None:
    """Thousands of players would slow a browser down."""
    html = write_report(make_report(manifest(*[{}] * (MOST_SONGS + 10)), "Long"), tmp_path).read_text()
    assert html.count("<audio") == MOST_SONGS
    assert f"The first {MOST_SONGS} of {MOST_SONGS + 10}" in html


def test_a_report_of_one_song_is_possible(manifest, tmp_path: Path) -> None:
    """A field may be named; there is no spread."""
    report = make_report(manifest({"rating": 3.0}), "One", fields=["prompt", "prompt_strength"])
    assert (report.generations, report.songs, report.outcomes) == (1, 1, ())
    write_report(report, tmp_path)


def test_no_rows_and_no_space_are_clear_errors(manifest, tmp_path: Path) -> None:
    """One message each."""
    with pytest.raises(InputError, match="nothing to report on"):
        make_report(manifest(), "None")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written to"):
        write_report(make_report(manifest({}), "x"), tmp_path / "file")


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/music/a.mp3", "../music/a.mp3"),
        ("/report/deep/ä & ü.mp3", "deep/%C3%A4%20%26%20%C3%BC.mp3"),
        ("/music/javascript:alert(1).mp3", "../music/javascript%3Aalert%281%29.mp3"),
        ("https://host/a.mp3?x=1", "https://host/a.mp3?x=1"),
        ("s3://bucket/a.mp3", None),
        (None, None),
    ],
)
def test_players_reach_songs_from_the_page(path: str | None, url: str | None) -> None:
    """By a relative path on this disk, by its URL on the web; other stores have no player."""
    assert player_url(path, Path("/report")) == url
