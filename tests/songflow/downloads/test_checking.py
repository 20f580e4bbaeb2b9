"""What cannot be decoded is a page only if it is a text: sound may begin with any byte."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from songflow.downloads.checking import PageFound, check_file

_ANY_BYTES = random.Random(1).randbytes(6000)

_PAGES = {
    "html in UTF-8": "<html><p>请先登录</p></html>".encode(),
    "html behind a byte order mark": b"\xef\xbb\xbf\n <html></html>",
    "html in GBK": "<html><p>请先登录</p></html>".encode("gbk"),
    "html in Latin-1": "<p>Accès refusé</p>".encode("latin-1"),
    "html in ISO-2022-JP": "<p>期限切れ</p>".encode("iso-2022-jp"),
    "json": b'{"code": "expired"}',
    "a plain text": b"link expired",
    "nothing": b"",
    "zeros": bytes(5000),
}


@pytest.mark.parametrize("first", [b"<", b"{", b"[", b"\n", b" <", b"a", b"\0", b"\xff"])
def test_sound_is_no_page_whatever_its_first_byte(tmp_path: Path, first: bytes) -> None:
    """Three bytes in 256 begin markup, so that encrypted or unknown sound begins with one now and then."""
    path = tmp_path / "song.part"
    path.write_bytes(first + _ANY_BYTES)
    checked = check_file(path, None)
    assert checked.facts is None
    assert str(checked.note).startswith("could not be verified: it cannot be decoded (")


@pytest.mark.parametrize("page", _PAGES.values(), ids=list(_PAGES))
def test_a_text_is_a_page_in_any_encoding(tmp_path: Path, page: bytes) -> None:
    path = tmp_path / "song.part"
    path.write_bytes(page)
    with pytest.raises(PageFound, match=r"its host sent (a text|nothing)$"):
        check_file(path, None)
