"""The bundle of `songflow doctor --report` holds no secret, in whatever spelling a gateway or a setting has it."""

from __future__ import annotations

import base64
import html
import json
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from deployments.health import good
from deployments.report_bundle import make_bundle, write_bundle
from songflow.errors import InputError
from songflow.ledger.recorded import RecordedRequest

KEYS = {
    "COMETAPI_KEY": "sk-4fJ/w+Zk=9:aQ.7<x>&Y_z~0123456789",
    "OPENAI_HK_KEY": "hk-0123456789abcdef0123456789abcdef",
    "SONGFLOW_API_KEY": "other/key?with+odd=signs",
    "PREFECT_API_KEY": "pnu_0123456789abcdefABCDEF",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "MY_TOKEN": "tok-\u00e4\u00f6\u00fc-0123456789",
}
PASSWORDS = {
    "SONGFLOW_LEDGER_URL": (
        "postgresql://music:s3cret%2Fpass@db.example.com/songs?sslmode=require",
        "s3cret/pass",
    ),
    "HTTPS_PROXY": ("http://me:pa55-word@proxy.example.com:3128", "pa55-word"),
    "http_proxy": ("me:pw@proxy.example.com:3128", "pw@"),
    "SONGFLOW_AUDIO_URL": ("s3://bucket/songs?secret=abcdefgh1", "abcdefgh1"),
}


def spellings(secret: str) -> set[str]:
    """A secret as it may occur: as it is, in base64 behind 0 to 2 other bytes, URL-encoded, escaped, in hexadecimal."""
    raw = secret.encode()
    once = quote(secret, safe="")
    found = {
        secret,
        once,
        once.lower(),
        quote(once, safe=""),
        html.escape(secret),
        json.dumps(secret)[1:-1],
        raw.hex(),
    }
    found |= {json.dumps(secret)[1:-1].replace("/", "\\/"), raw.hex().upper()}
    for encode, before, after in product(
        (base64.b64encode, base64.urlsafe_b64encode), (b"", b"k", b"k:"), (b"", b";", b";;")
    ):
        encoded = encode(before + raw + after).decode()
        found |= {encoded, encoded.rstrip("="), quote(encoded, safe=""), encoded.replace("/", "\\/")}
    return found


def searched(secret: str) -> set[str]:
    """What must not be found: as a search has it, without the digits that also depend on neighbours."""
    raw = secret.encode()
    parts = {secret, quote(secret, safe=""), raw.hex(), json.dumps(secret)[1:-1]}
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            parts.add(encode(b"\0" * before + raw).decode()[4 if before else 0 : -4])
    return parts


def request(body: str, **headers: str) -> RecordedRequest:
    answer = {"kind": "submit", "status": 200, "headers": headers, "body": body, "received_at": "2026-07-01"}
    return RecordedRequest({"state": "unknown", "error": body[:200]}, {"shape": "B"}, (answer,))


@pytest.mark.parametrize("name", KEYS)
def test_no_spelling_of_a_key_is_in_the_bundle(name: str) -> None:
    """In answers, headers, errors, checks and settings; what is around it stays."""
    key = KEYS[name]
    for spelt in spellings(key):
        body = json.dumps({"message": f"before {spelt} after", "data": {"id": "task-1"}}, ensure_ascii=False)
        for text in (body, f"before {spelt} after"):
            bundle = make_bundle([good("keys", f"x {spelt} y")], [request(text, location=spelt)], KEYS)
            assert not [one for one in searched(key) if one in bundle], (spelt, bundle)
            assert "before" in bundle
            assert "after" in bundle
            assert (
                json.loads(bundle)["settings"].get(name, f"(set, {len(key)} characters)").startswith("(set")
            )


def test_no_password_of_a_setting_is_in_the_bundle() -> None:
    """Hosts stay, and every other setting as it is."""
    environment = {name: value for name, (value, _) in PASSWORDS.items()} | {
        "SONGFLOW_BUDGET": "7",
        "LC_ALL": "C",
    }
    error = "cannot connect to " + " ".join(environment.values())
    bundle = make_bundle([good("library", error)], [request(error)], environment)
    settings = json.loads(bundle)["settings"]
    for name, (_, password) in PASSWORDS.items():
        assert password not in bundle, name
        assert quote(password, safe="") not in bundle, name
    assert settings["SONGFLOW_LEDGER_URL"] == "postgresql://***@db.example.com/songs?sslmode=require"
    assert settings["http_proxy"] == "***@proxy.example.com:3128"
    assert (settings["SONGFLOW_BUDGET"], settings["LC_ALL"]) == ("7", "C")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Bearer abcdef0123456789", "***"),
        ("key sk-abcdefghijklmnop used", "key *** used"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc", "***"),
        ("https://h/x.mp3?X-Amz-Signature=abc\\u0026b=c", "https://h/x.mp3?***"),
        ('"https:\\/\\/h\\/x.mp3?sig=abc&b=c"', '"https:\\/\\/h\\/x.mp3?***"'),
        ("http://me:pw@h/x", "http://***@h/x"),
        ("a task-1 and a sketch, https://h/x.mp3", "a task-1 and a sketch, https://h/x.mp3"),
    ],
)
def test_what_looks_like_a_secret_is_masked_whoever_has_it(text: str, left: str) -> None:
    """Keys that the environment does not hold (a block's, a former one), and addresses that open a song to anybody."""
    [made] = json.loads(make_bundle([], [request(text)], {}))["generations"]
    assert made["answers"][0]["body"] == left


def test_short_and_ordinary_values_leave_the_answers_readable() -> None:
    """A key `any` is a word, and a variable such as AUTH=1 says nothing."""
    environment = {"COMETAPI_KEY": "any", "SOME_AUTH": "1", "A_KEY": "user", "SONGFLOW_API_KEY": " x\n"}
    body = '{"code":"success","data":{"lyrics_type":"user","task":"1","many":"company any"}}'
    bundle = json.loads(make_bundle([], [request(body)], environment))
    assert bundle["generations"][0]["answers"][0]["body"] == body.replace("company any", "company ***")
    assert (
        bundle["settings"]["SONGFLOW_API_KEY"] == "(set, 3 characters, white space around it, not printable)"
    )


def test_a_bundle_has_a_limit_and_an_owner(tmp_path: Path) -> None:
    """The newest requests are kept; the file is new, and its owner's alone."""
    requests: list[Any] = [request(str(number) * 300_000) for number in range(10)] * 3
    bundle = json.loads(make_bundle([], requests, {}))
    assert [one["answers"][0]["body"][:2] for one in bundle["generations"][-2:]] == ["88", "99"]
    assert sum(len(one["answers"][0]["body"]) for one in bundle["generations"]) < 5_000_000
    assert bundle["versions"]["songflow"]
    write_bundle("{}", tmp_path / "report.json")
    assert (tmp_path / "report.json").stat().st_mode & 0o777 == 0o600
    for path in (tmp_path / "report.json", tmp_path / "none" / "x.json"):
        with pytest.raises(InputError, match="cannot be written"):
            write_bundle("{}", path)
