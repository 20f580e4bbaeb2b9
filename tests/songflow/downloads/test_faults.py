"""Songs of the simulated gateway, with everything that its script can do to a download."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from songflow.downloads.downloader import DownloadProblem

Song = dict[str, Any]


async def announced(url: str, takes: int = 2) -> list[Song]:
    """The songs of a generation that was submitted and waited for, as the gateway announces them."""
    params = {"prompt": "a waltz", "model_type": "udio32-v1.5", "seed": 3}
    async with httpx.AsyncClient(base_url=url) as client:
        accepted = await client.post("/udio/submit/music", json={"gen_params": params})
        while True:
            report = (await client.get(f"/udio/fetch/{accepted.json()['data']}")).json()["data"]
            if report["status"] == "SUCCESS":
                songs: list[Song] = report["data"]["songs"]
                assert len(songs) == takes
                return songs
            await asyncio.sleep(0.01)


async def seen(url: str) -> dict[str, Any]:
    """What the simulator counted of downloads."""
    async with httpx.AsyncClient() as client:
        found: dict[str, Any] = (await client.get(f"{url}/_simulator/requests")).json()["downloads"]
        return found


async def truth(song: Song) -> bytes:
    """The file as it lies at the gateway."""
    async with httpx.AsyncClient() as client:
        return (await client.get(song["song_path"])).content


PASSING = [
    {"fault": "truncated"},
    {"fault": "truncated", "bytes": 0},
    {"fault": "wrong_length", "bytes": 777},
    {"fault": "reset_before"},
    {"fault": "reset_during"},
    {"fault": "corrupt"},
    {"fault": "html_200"},
    {"fault": "no_range"},
    {"fault": "slow", "seconds": 0.01},
    {"fault": "slow_drip", "seconds": 0.1, "bytes": 20_000},
    {"fault": "redirect"},
    {"fault": "redirect", "status": 301},
    {"fault": "redirect", "status": 308},
    {"fault": "status", "on": "download", "status": 503},
    {"fault": "status", "on": "download", "status": 429, "retry_after": 1},
    {"fault": "status", "on": "download", "status": 500, "body": ""},
]


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: "-".join(map(str, fault.values())))
async def test_a_single_fault_is_recovered(
    simulator: Any, downloads: Any, part: Path, fault: dict[str, Any]
) -> None:
    """The song that ends up in the part is the gateway's, byte for byte; no key went to its host."""
    server = simulator({"on": "download", **fault})
    song = (await announced(server.url))[0]
    done = await downloads().fetch(song["song_path"], part, song["duration"])
    assert done.part.read_bytes() == await truth(song)
    assert (await seen(server.url))["authorizations"] == 0


async def test_a_truncated_download_is_resumed_and_not_repeated(
    simulator: Any, downloads: Any, part: Path
) -> None:
    """The rest is a 206 with the missing bytes."""
    server = simulator({"fault": "reset_during", "bytes": 6000})
    song = (await announced(server.url))[0]
    await downloads().fetch(song["song_path"], part, song["duration"])
    assert (await seen(server.url))["answered"] == {"reset_during": 1, "206": 1}


async def test_a_host_without_ranges_sends_all_of_it_again(
    simulator: Any, downloads: Any, part: Path
) -> None:
    """A 200 in answer to a Range begins the part anew."""
    server = simulator({"fault": "truncated", "bytes": 5000}, {"fault": "no_range", "times": None})
    song = (await announced(server.url))[0]
    done = await downloads().fetch(song["song_path"], part, song["duration"])
    assert done.part.read_bytes() == await truth(song)


LASTING = [
    ({"fault": "dead"}, "its host answered 404", True),
    ({"fault": "dead", "status": 410}, "its host answered 410", True),
    ({"fault": "truncated", "bytes": 0}, "its host could not be read", False),
    ({"fault": "reset_before"}, "its host could not be read", False),
    ({"fault": "reset_during", "bytes": 0}, "its host could not be read", False),
    ({"fault": "corrupt"}, "it is not a whole song", False),
    ({"fault": "html_200"}, "it is not a whole song: it cannot be decoded", False),
    ({"fault": "redirect"}, "redirected more than 5 times", True),
    (
        {"fault": "redirect", "location": "file:///etc/passwd"},
        "only http and https are followed, not file",
        True,
    ),
    ({"fault": "redirect", "location": "http://[bad"}, "could not be read|URL is refused", True),
    ({"fault": "status", "on": "download", "status": 403}, "its host answered 403", True),
    ({"fault": "status", "on": "download", "status": 302, "body": "nowhere"}, "its host answered 302", False),
]


@pytest.mark.parametrize(
    ("fault", "words", "dead"), LASTING, ids=["-".join(map(str, fault.values())) for fault, *_ in LASTING]
)
async def test_a_lasting_fault_is_an_error_and_stores_no_song(
    simulator: Any, downloads: Any, part: Path, fault: dict[str, Any], words: str, dead: bool
) -> None:
    """In the words of the last attempt; `dead` where another attempt at this address would bring nothing."""
    server = simulator({"on": "download", **fault, "times": None}, clip_seconds=6.0)
    song = (await announced(server.url))[0]
    with pytest.raises(DownloadProblem, match=words) as caught:
        await downloads().fetch(song["song_path"], part, song["duration"])
    assert caught.value.dead is dead


async def test_a_public_gateways_song_at_a_private_address_is_refused(
    simulator: Any, downloads: Any, part: Path
) -> None:
    """An answer from the web cannot make us read the user's own network; nothing is asked there."""
    server = simulator()
    song = (await announced(server.url))[0]
    with pytest.raises(DownloadProblem, match=r"127\.0\.0\.1 is a private address, and the gateway is not"):
        await downloads(allow_private=False).fetch(song["song_path"], part, 2.0)
    assert (await seen(server.url))["seen"] == 0


async def test_a_decoded_url_is_not_found(simulator: Any, downloads: Any, part: Path) -> None:
    """The simulator takes only the twice-encoded path, byte for byte, which is how the tests above pass."""
    server = simulator()
    song = (await announced(server.url))[0]
    assert "%2520" in song["song_path"]
    with pytest.raises(DownloadProblem, match="404"):
        await downloads().fetch(song["song_path"].replace("%25", "%"), part, 2.0)
