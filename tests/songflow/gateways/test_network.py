"""The environment's proxies and certificates: one rule for all clients, and a sentence for what cannot be read."""

from __future__ import annotations

import os
import re
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.canned_gateway import BODY, TAKEN

from songflow.downloads.address_policy import uses_proxy
from songflow.downloads.downloader import Downloads
from songflow.errors import InvalidEnvironment
from songflow.gateways import Accepted, network
from songflow.gateways.network import Proxies, check_network, open_client, open_transport
from songflow.gateways.tls import NetworkProblem
from songflow.settings import network_error, require_network

PROXY = "http://proxy.test:3128"


@pytest.mark.parametrize(
    "value",
    [
        "socks://127.0.0.1:1", "socks4://h:1", "socks5://h:1", "socks5h://u:pa55word@h:1", "gopher://h:1", "http://",
        "http://h:port", "http://h:99999", "http://[::1", "://h", "http://u:pa55word@h:x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("variable", ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "http_proxy"])
def test_a_proxy_that_cannot_be_used_is_named_without_its_password(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr(network, "find_spec", lambda name: None)
    with pytest.raises(NetworkProblem, match=f"^{variable} names") as caught:
        check_network()
    assert "pa55word" not in f"{caught.value} {caught.value.mend}"
    assert variable in caught.value.mend
    with pytest.raises(NetworkProblem):
        open_client()
    with pytest.raises(InvalidEnvironment, match=f"^{variable} .*Next: .*nothing was sent"):
        require_network()
    monkeypatch.setenv("NO_PROXY", "*")
    assert network_error() is None, "the proxy is not used"


@pytest.mark.parametrize(
    "value", ["[::1]", "fd07::/64", "::/0", "a,[fe80::1]:80", "10.0.0.0/99", "http://h:port"]
)
@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
def test_an_exception_that_cannot_be_read_is_named(monkeypatch, variable, value):
    monkeypatch.setenv(variable, f"localhost, {value}")
    entry = re.escape(value.split(",")[-1])
    with pytest.raises(NetworkProblem, match=f"^{variable} has '{entry}', which"):
        check_network()


def test_socks_is_used_where_its_package_is_installed(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://h:1")
    monkeypatch.setattr(network, "find_spec", lambda name: object())
    assert check_network().proxy_for("http://a.test/") == "socks5://h:1"


@pytest.mark.parametrize(
    ("exempt", "direct", "proxied"),
    [
        ("", [], ["http://a.test/", "https://1.1.1.1/"]),
        ("a.test", ["http://a.test/", "https://b.a.test:8/", "http://a.test./"], ["http://aa.test/"]),
        (".a.test", ["http://b.a.test/"], ["http://a.test/"]),
        ("a.test:81", ["http://a.test:81/"], ["http://a.test/", "https://a.test/"]),
        ("a.test:80", ["http://a.test/"], ["https://a.test/"]),
        ("http://a.test", ["http://a.test/"], ["https://a.test/", "http://b.a.test/"]),
        ("10.1.2.3", ["http://10.1.2.3:8/"], ["http://10.1.2.4/"]),
        ("10.0.0.0/8, 192.168.1.1", ["http://10.9.8.7/", "http://192.168.1.1/"], ["http://11.0.0.1/", "http://ten.test/"]),
        ("fd07::1", ["http://[fd07::1]/"], ["http://[fd07::2]/"]),
        ("all://*", ["http://a.test/"], []),
        ("*", ["http://a.test/"], []),
    ],
)  # fmt: skip
def test_what_goes_past_the_proxy(monkeypatch, exempt, direct, proxied):
    """This machine always does; the address policy and the clients go by the same rule."""
    monkeypatch.setenv("ALL_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", exempt)
    machine = [
        "http://127.0.0.1:1/",
        "https://127.9.9.9/",
        "http://localhost/",
        "http://[::1]:8/",
        "http://x.localhost/",
    ]
    rule = Proxies.of_environment()
    for url in (*direct, *machine, "http://[::ffff:127.0.0.1]/"):
        assert rule.proxy_for(url) is None, url
        assert not uses_proxy(url)
    for url in proxied:
        assert rule.proxy_for(url) == PROXY, url
        assert uses_proxy(url)


@pytest.mark.parametrize(
    "exempt", ["a.test", ".a.test", "a.test:81", "http://a.test", "10.1.2.3", "fd07::1", "localhost"]
)
def test_the_rule_is_that_of_httpx_for_every_other_host(monkeypatch, exempt):
    """Prefect's client, which reads the same variables, takes the same way."""
    monkeypatch.setenv("HTTP_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", exempt)
    client, rule = httpx.Client(), Proxies.of_environment()
    for host in ("a.test", "b.a.test", "aa.test", "a.test:81", "10.1.2.3", "10.1.2.4", "[fd07::1]"):
        for url in (f"http://{host}/", f"https://{host}/"):
            direct = client._transport_for_url(httpx.URL(url)) is client._transport
            assert (rule.proxy_for(url) is None) == direct, url


@pytest.mark.parametrize(
    ("variable", "make"),
    [
        ("SSL_CERT_FILE", lambda folder: folder / "missing.pem"),
        ("SSL_CERT_FILE", lambda folder: folder),
        ("SSL_CERT_FILE", lambda folder: _file(folder / "empty.pem", "")),
        ("SSL_CERT_FILE", lambda folder: _file(folder / "text.pem", "no certificate")),
        ("SSL_CERT_DIR", lambda folder: folder / "missing"),
        ("SSL_CERT_DIR", lambda folder: _file(folder / "file", "")),
        ("SSLKEYLOGFILE", lambda folder: folder / "missing" / "keys.log"),
        ("SSLKEYLOGFILE", lambda folder: folder),
    ],
)
def test_certificates_that_cannot_be_read_are_named(monkeypatch, tmp_path, variable, make):
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(make(tmp_path)))
    with pytest.raises(NetworkProblem, match=f"^{variable} is '.*', which cannot be used: ."):
        check_network()
    monkeypatch.delenv(variable)
    check_network()


def _file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


async def test_every_client_reaches_this_machine_past_a_dead_proxy(monkeypatch, serve, tools):
    """Submits, polls and downloads alike."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "elsewhere.test")
    server = await serve(tools.answers(tools.http(200, TAKEN)))
    async with tools.gateway(server.url) as gateway:
        assert isinstance(await gateway.submit("udio", BODY), Accepted)
    async with open_transport() as transport:
        downloads = Downloads(transport, allow_private=True)
        async with downloads.get(server.url) as response:
            assert response.status_code == 200
    async with open_client() as client:
        assert (await client.get(server.url)).status_code == 200
    assert len(server.requests) == 3


async def test_other_hosts_are_reached_through_their_proxy(monkeypatch, serve, tools):
    """Each request by its own route, over one client; a proxy's password is sent."""
    proxy = await serve(tools.answers(tools.http(200, "proxied")))
    direct = await serve(tools.answers(tools.http(200, "direct")))
    monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//user:pa55word@"))
    async with open_client() as client:
        assert (await client.get("http://songs.test/x.mp3")).text == "proxied"
        assert (await client.get(direct.url)).text == "direct"
    assert proxy.requests[0].target == "http://songs.test/x.mp3"
    assert proxy.requests[0].headers["proxy-authorization"].startswith("Basic ")
    assert "proxy-authorization" not in direct.requests[0].headers


def test_a_variable_without_a_value_counts_as_not_set(monkeypatch):
    for name in ("ALL_PROXY", "NO_PROXY", "SSL_CERT_DIR", "SSLKEYLOGFILE"):
        monkeypatch.setenv(name, "")
    assert check_network().by_scheme == {}
    assert "SSL_CERT_FILE" in os.environ


_HOSTS = st.sampled_from(
    [
        "a.test",
        "127.0.0.1",
        "[::1]",
        "::1",
        "fd07::/64",
        "10.0.0.0/8",
        "*",
        "",
        " ",
        "x y",
        "ä.test",
        "[",
        "%",
        "h:p",
    ]
)
_PORTS = st.sampled_from(["", ":", ":80", ":3128", ":99999", ":-1", ":x", ":\t8"])
_SCHEMES = st.sampled_from(
    ["", "http://", "https://", "socks5://", "socks://", "all://", "://", "HTTP://", "gopher://"]
)
_USERS = st.sampled_from(["", "me:pa55word@", "@", "me@"])
_PROXY_URLS = st.builds("{}{}{}{}".format, _SCHEMES, _USERS, _HOSTS, _PORTS)
_EXEMPT = st.lists(
    st.builds("{}{}{}".format, _SCHEMES, _HOSTS, _PORTS) | st.text(max_size=5), max_size=3
).map(",".join)
_SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("HTTP_PROXY", "https_proxy", "ALL_PROXY"), _PROXY_URLS),
        **dict.fromkeys(("NO_PROXY", "no_proxy"), _EXEMPT),
    },
)


@settings(max_examples=400, deadline=None)
@given(_SETTINGS)
def test_whatever_the_settings_they_are_refused_or_every_client_can_be_opened(chosen):
    """A refusal names one of them and no password; without one, neither our clients nor Prefect's httpx fail."""
    chosen = {name: value for name, value in chosen.items() if "\0" not in value and value.isprintable()}
    with pytest.MonkeyPatch.context() as patches:
        for name, value in chosen.items():
            patches.setenv(name, value)
        error = network_error()
        if error is not None:
            assert error.message.split()[0] in chosen
            assert error.exit_code == 2
            assert error.billed == "no"
            assert "pa55word" not in str(error)
            return
        rule = Proxies.of_environment()
        for url in ("http://a.test/", "https://[fd07::1]:8/", "http://127.0.0.1:1/"):
            rule.proxy_for(url)
            httpx.AsyncClient()._transport_for_url(httpx.URL(url))
        open_client()
