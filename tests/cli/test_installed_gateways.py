"""A gateway and a family from packages outside of Songflow, through real entry points and the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.packages import install, install_hummery, install_tunery
from support.recordings import mp3_bytes
from support.small_gateway import small_gateway

KEY = "key-of-the-tunery-0123456789"
QUICK = ("--poll-interval", "0.05", "--json")


@dataclass
class Tunery:
    """The gateway of docs/add-a-gateway.md."""

    song: bytes
    url: str = ""
    ready: bool = True
    bill: list[Any] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)

    def __call__(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> Any:
        if path.endswith(".mp3"):
            return self.song
        if path == "/":
            return {}
        self.keys.add(headers.get("X-Tunery-Key"))
        if method == "POST":
            assert path == "/v1/songs"
            if body["style"] == "too dear":
                return {"ok": False, "status": 402, "why": "no credit"}
            self.bill.append(body)
            return {"song": {"ref": f"tune/{len(self.bill)}"}}
        assert path == f"/v1/songs/tune%2F{len(self.bill)}"
        file = {"id": f"file {len(self.bill)}", "name": "A tune", "seconds": 2.0, "mp3": "/files/1.mp3"}
        phase = "ready" if self.ready else "cooking"
        return {"song": {"phase": phase, "why": None, "files": [file] if self.ready else []}}


@pytest.fixture
def tunery() -> Iterator[Tunery]:
    """The gateway on a socket."""
    gateway = Tunery(mp3_bytes(2.0))
    with small_gateway(gateway) as url:
        gateway.url = url
        yield gateway


@pytest.fixture
def with_packages(tmp_path: Path) -> dict[str, str | None]:
    """The environment of a machine with these packages: one is faulty, and two declare the same name."""
    site = tmp_path / "site"
    install_tunery(site)
    install_hummery(site)
    install(site, "breaker", {"songflow.gateways": {"broken": "broken:X", "kie": "broken:X"}}, broken="1 / 0")
    for name in ("one", "two"):
        install(site, name, {"songflow.gateways": {"same": "tunery:TUNERY"}})
    return {"PYTHONPATH": str(site), "TUNERY_KEY": KEY}


def test_a_song_of_an_installed_gateway_is_made_kept_and_rescued(
    shell: Any, tunery: Tunery, with_packages: dict[str, str | None]
) -> None:
    """Paid once in its own words; while the package is gone, the gateway is named and nothing is lost."""
    to = ("--gateway", "tunery", "--base-url", tunery.url, *QUICK)
    tunery.ready = False
    left = shell.run("generate", "a waltz", "--deadline", "0.2", "--key", "w", *to, env=with_packages)
    assert (left.code, left.json["generation_id"]) == (5, "tune/1"), left.err
    tunery.ready = True
    without = shell.run("rescue", "--json")
    assert without.code == 5
    (waiting,) = without.json["rescued"]
    assert f"waits at tunery ({tunery.url}), and no gateway 'tunery' is installed here" in waiting["error"]
    assert "install the package that adds this gateway" in waiting["next"]
    again = shell.run("rescue", "--json", env=with_packages)
    assert again.code == 0, again.out
    (song,) = again.json["rescued"][0]["songs"]
    assert (song["title"], Path(song["path"]).is_file()) == ("A tune", True)
    assert tunery.bill == [{"style": "a waltz", "words": "", "kind": "surprise", "length": "short"}]
    assert tunery.keys == {KEY}
    (row,) = shell.run("songs", "--json").json["songs"]
    assert (row["gateway"], row["state"], row["account"]) == ("tunery", "succeeded", "env:TUNERY_KEY")


def test_what_it_refuses_or_cannot_make_costs_nothing(
    shell: Any, tunery: Tunery, with_packages: dict[str, str | None]
) -> None:
    """Its refusal inside a success, its models, and a family that another package adds."""
    to = ("--gateway", "tunery", "--base-url", tunery.url, *QUICK)
    dear = shell.run("generate", "too dear", *to, env=with_packages)
    assert (dear.code, dear.json["billed"], "no credit" in dear.json["error"]) == (3, "no", True), dear.err
    hum = shell.run("generate", "a hum", "--model", "hum-1", *to, env=with_packages)
    assert (hum.code, "tunery does not sell hum" in hum.json["error"]) == (2, True)
    assert "(hummery)" in hum.json["next"]
    assert tunery.bill == []


def test_faulty_packages_are_named_and_harm_no_other_gateway(
    shell: Any, gateways: Any, to: Any, with_packages: dict[str, str | None]
) -> None:
    """The built-in gateways work beside them, and none can be chosen."""
    server = gateways(takes=1)
    made = shell.run(
        "generate",
        "a waltz",
        *to(server, "kie"),
        "--model",
        "chirp-v4",
        env={**with_packages, "KIE_KEY": KEY},
    )
    assert made.code == 0, made.err
    assert made.err.count("breaker 1.0: the entry point 'kie' of songflow.gateways is not used") == 1
    broken = shell.run("generate", "a waltz", "--gateway", "broken", "--json", env=with_packages)
    assert (broken.code, broken.json["billed"]) == (2, "no")
    assert "'broken' cannot be used: breaker 1.0: ZeroDivisionError" in broken.json["error"]
    same = shell.run("generate", "a waltz", "--gateway", "same", "--json", env=with_packages)
    assert (same.code, "one 1.0, two 1.0: each of them declares it" in same.json["error"]) == (2, True)


def test_doctor_checks_an_installed_gateway_and_keeps_its_key(
    shell: Any, tunery: Tunery, with_packages: dict[str, str | None]
) -> None:
    """The key is among those in the environment; the report has neither it nor its value."""
    run = shell.run(
        "doctor", "--report", "-o", "report.json", "--gateway", "tunery", "--base-url", tunery.url, "--json",
        env={**with_packages, "COMETAPI_KEY": None, "OPENAI_HK_KEY": None},
    )  # fmt: skip
    said = {check["part"]: check["said"] for check in run.json["checks"]}
    assert said["keys"] == "in the environment: TUNERY_KEY."
    assert f"{tunery.url} answers" in said["gateway tunery"]
    report = (shell.folder / "report.json").read_text()
    assert f'"TUNERY_KEY": "(set, {len(KEY)} characters)"' in report
    assert KEY not in report
