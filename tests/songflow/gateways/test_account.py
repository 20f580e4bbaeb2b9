"""Dialects and accounts: settings are validated, and the key is never shown."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import FrozenInstanceError
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

import songflow.gateways
from songflow.gateways import DIALECTS, Account, custom_dialect
from songflow.gateways.network import is_loopback
from songflow.gateways.redaction import Redactor

HK = DIALECTS["openai-hk"]


def test_gateways_have_the_documented_addresses_and_paths():
    first = {name: (one.base_url, next(iter(one.services.values()))) for name, one in DIALECTS.items()}
    assert {name: (url, one.submit_path, one.fetch_path) for name, (url, one) in first.items()} == {
        "cometapi": ("https://api.cometapi.com", "/udio/generate-proxy", "/udio/query?ids={ids}"),
        "openai-hk": ("https://api.openai-hk.com", "/udio/submit/music", "/udio/fetch/{id}"),
        "kie": ("https://api.kie.ai", "/api/v1/generate", "/api/v1/generate/record-info?taskId={id}"),
        "sunoapi": (
            "https://api.sunoapi.org",
            "/api/v1/generate",
            "/api/v1/generate/record-info?taskId={id}",
        ),
        "piapi": ("https://api.piapi.ai", "/api/v1/task", "/api/v1/task/{id}"),
        "acedata": ("https://api.acedata.cloud", "/suno/audios", "/suno/tasks"),
        "ace-step": ("http://127.0.0.1:8001", "/release_task", "/query_result"),
        "simulator": (None, "/udio/submit/music", "/udio/fetch/{id}"),
    }
    assert [one.key_variable for one in DIALECTS.values()] == [
        "COMETAPI_KEY",
        "OPENAI_HK_KEY",
        "KIE_KEY",
        "SUNOAPI_KEY",
        "PIAPI_KEY",
        "ACEDATA_KEY",
        "ACESTEP_KEY",
        "SONGFLOW_API_KEY",
    ]
    assert all(one.name == name for name, one in DIALECTS.items())
    with pytest.raises(FrozenInstanceError):
        HK.name = "x"  # type: ignore[misc]


def test_a_custom_gateway_has_a_url_two_paths_and_a_shape():
    dialect = custom_dialect("https://relay.example/v1/", "/music?a=b", "/query?list={ids}&full=1", "c")
    service = dialect.services["udio"]
    assert (dialect.name, dialect.base_url, service.settings["shape"]) == (
        "custom",
        "https://relay.example/v1",
        "C",
    )
    targets = [question.target for question in service.questions("g", ["a", "b&c"])]
    assert targets == ["/query?list=a,b%26c&full=1", "/query?list=g&full=1"]
    assert [one.target for one in service.questions("{id}")] == ["/query?list=%7Bid%7D&full=1"]


@pytest.mark.parametrize(
    ("submit_path", "fetch_path", "shape", "named"),
    [
        ("music", "/f/{id}", "A", "submit_path"),
        ("/mu sic", "/f/{id}", "A", "submit_path"),
        ("/müsic", "/f/{id}", "A", "submit_path"),
        ("/m#x", "/f/{id}", "A", "submit_path"),
        ("/m\n", "/f/{id}", "A", "submit_path"),
        ("/m", "f/{id}", "A", "fetch_path"),
        ("/m", "/f", "A", "fetch_path"),
        ("/m", "/f/{id}?ids={ids}", "A", "fetch_path"),
        ("/m", "/f/{id}", "E", "shape"),
        ("/m", "/f/{id}", "", "shape"),
    ],
)
def test_an_invalid_custom_gateway_is_refused(submit_path, fetch_path, shape, named):
    with pytest.raises(ValueError, match=named):
        custom_dialect("https://relay.example", submit_path, fetch_path, shape)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://relay.example/", "https://relay.example"),
        (" https://relay.example/v1// ", "https://relay.example/v1"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
        ("HTTPS://relay.example", "https://relay.example"),
        ("", "https://api.openai-hk.com"),
    ],
)
def test_a_base_url_loses_its_trailing_slash(given, kept):
    assert Account(HK, given).base_url == kept


@pytest.mark.parametrize(
    "url",
    [
        "relay.example",
        "ftp://relay.example",
        "https://",
        "https:///path",
        "https://relay.example:port",
        "https://relay.example:99999",
        "https://[::1",
        "https://relay.example/?key=1",
        "https://relay.example/#a",
        "https://relay.example/a b",
        "https://relay.example/\n",
        "https://relay\x00.example",
        "https://user:hunter2@relay.example",
        "https://hunter2@relay.example",
        "//relay.example",
    ],
)
def test_an_invalid_base_url_is_refused_without_showing_a_password(url):
    with pytest.raises(ValueError, match="base URL") as caught:
        Account(HK, url.replace("\n", "\nx"))
    assert "hunter2" not in str(caught.value)


def test_a_gateway_without_a_published_address_needs_a_base_url():
    with pytest.raises(ValueError, match="simulator"):
        Account(DIALECTS["simulator"])


@pytest.mark.parametrize(
    "key", ["", "sec ret", "secret\n", "\tsecret", "sec\x00ret", "sécret", "secret\u200b"]
)
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(key):
    with pytest.raises(ValueError, match="key") as caught:
        Account(HK, key=SecretStr(key))
    assert not key or key not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_account_shows_a_fingerprint_and_never_the_key():
    account = Account(HK, "", "env:OPENAI_HK_KEY", SecretStr("hk-your-key"))
    assert account.fingerprint == sha256(b"hk-your-key").hexdigest()[:12]
    assert account.fingerprint != Account(HK, key=SecretStr("hk-other-key")).fingerprint
    assert account == Account(HK, "", "env:OPENAI_HK_KEY", SecretStr("hk-your-key"))
    assert "hk-your-key" not in repr(account) + str(account)
    assert Account(HK).fingerprint == "none"


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:1", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:1", True),
        ("http://LOCALHOST:1", True),
        ("http://sim.localhost", True),
        ("http://localhost.example", False),
        ("http://10.0.0.1", False),
        ("https://relay.example", False),
    ],
)
def test_loopback_addresses_are_recognised(url, loopback):
    account = Account(HK, url)
    assert is_loopback(urlsplit(account.base_url).hostname) == loopback
    assert account.is_secure == url.startswith("https")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Invalid token: Bearer test-key", "Invalid token: Bearer ***"),
        ('{"key":"test-key"}', '{"key":"***"}'),
        ("no such key test-key.", "no such key ***."),
        ("?key=test%2dkey&a=1", "?key=***&a=1"),
        ("https://h/test-key/song.mp3", "https://h/test-key/song.mp3"),
        ("latest-keys", "latest-keys"),
        ("id-test-key", "id-test-key"),
        ("test-key.mp3", "test-key.mp3"),
    ],
)
def test_a_short_key_is_masked_only_as_a_whole_word(text, kept):
    assert Redactor("test-key")(text) == kept


def test_a_long_key_is_masked_inside_words_too():
    assert Redactor("k" * 16)("a" + "k" * 16 + "b") == "a***b"


@pytest.mark.parametrize("key", [None, ""])
def test_without_a_key_nothing_is_masked(key):
    assert Redactor(key)("anything") == "anything"


def test_public_names_are_sorted_and_exist():
    names = songflow.gateways.__all__
    assert names == sorted(names, key=lambda name: (not name.isupper(), name))
    assert all(hasattr(songflow.gateways, name) for name in names)


def test_importing_the_package_loads_neither_httpx_nor_higher_layers():
    """httpx and pydantic are imported by the first request; Prefect, ledger and simulator never are."""
    script = "import sys, songflow.gateways; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {"httpx", "pydantic", "prefect", "sqlalchemy", "songflow.simulator", "songflow.ledger"}
    assert heavy.isdisjoint(loaded.stdout.split())


def test_no_module_of_the_package_prints():
    for file in Path(songflow.gateways.__file__).parent.glob("*.py"):
        calls = [node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Call)]
        assert "print" not in {call.func.id for call in calls if isinstance(call.func, ast.Name)}


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://studio.example:8001/v1/audio?path=%2Ftmp%2Fone.mp3", True),
        ("http://studio.example:8002/v1/audio", False),
        ("https://studio.example:8001/v1/audio", False),
        ("http://other.example:8001/v1/audio", False),
        ("http://studio.example:8001@other.example/one.mp3", False),
        ("http://studio.example:8001x/one.mp3", False),
    ],
)
def test_a_key_for_files_goes_to_the_gateways_own_address_only(url: str, sent: bool):
    """Whatever address a report or a redirect names."""
    account = Account(DIALECTS["ace-step"], "http://studio.example:8001", key=SecretStr("of-the-studio"))
    assert dict(account.file_headers(url)) == ({"Authorization": "Bearer of-the-studio"} if sent else {})
    assert Account(DIALECTS["ace-step"]).file_headers("http://127.0.0.1:8001/one.mp3") == {}
