"""Whatever a gateway calls a song, the page shows it as text."""

from __future__ import annotations

import html
import re

import pytest
from markdown_it import MarkdownIt

from tasks.ui.markdown import artifact_key, escape, web_link

HOSTILE = [
    "<script>alert(1)</script>",
    "[click](javascript:alert(1))",
    "![x](https://evil.example/pixel.png)",
    "a | b\n| --- |\r\n# big",
    "`code` *bold* _it_ ~~gone~~ \\",
    "www.evil.example",
    "&lt;b&gt;",
    "right\u202eleft\x00\x1b[31m",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_renderer_makes_nothing_but_text_of_hostile_text(text):
    renderer = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    shown = " ".join(re.sub(r"[\x00\x1b\u202e]", " ", text).split())
    assert renderer.render(escape(text)) == f"<p>{html.escape(shown)}</p>\n"
    cells = re.findall(r"<td>(.*?)</td>", renderer.render(f"| a |\n| --- |\n| {escape(text)} |"))
    assert cells == [html.escape(shown)]


def test_what_some_renderers_link_by_themselves_is_broken_up():
    assert escape("www.x.example https://x.example a@x.example") == (
        r"www\.x\.example https\://x\.example a\@x\.example"
    )


@pytest.mark.parametrize("text", ["plain words", "Ünïcödé 歌 ♪"])
def test_plain_text_stays_readable(text):
    assert escape(text) == text


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "http://[",
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "https://",
        "//x.example/a",
    ],
)
def test_only_addresses_of_the_web_become_links(url):
    assert web_link("hear", url) is None


def test_a_link_keeps_its_address_and_cannot_be_left_early():
    assert (
        web_link("hear", "https://x.example/a%2520b.mp3?c=d") == "[hear](https://x.example/a%2520b.mp3?c=d)"
    )
    link = web_link("hear", 'https://x.example/a) [b](javascript:x) "t" <i>')
    assert link is not None
    assert re.fullmatch(r"\[hear\]\([^()<>\s\"\[\]]+\)", link)


def test_artifact_keys_are_valid_and_different():
    keys = ["4f0a:core", "4f0a:Core", "歌", "ü", "a" * 300]
    made = {artifact_key(key, name) for key in keys for name in ("A slow Waltz!", "歌", None, "b" * 300)}
    assert len(made) == 3 * len(keys)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", key) and len(key) <= 80 for key in made)
    assert artifact_key("4f0a:core", "A slow Waltz!").startswith("song-a-slow-waltz-")
