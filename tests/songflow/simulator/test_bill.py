"""The bill is exact, durable and shared, and can be read over HTTP."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from songflow.simulator import SimulatorServer, SimulatorSettings

SERVE = """
import sys
from pathlib import Path
from songflow.simulator import SimulatorSettings, serve
ready = lambda url: (sys.stdout.write(url + "\\n"), sys.stdout.flush())
serve(SimulatorSettings(state_dir=Path(sys.argv[1]), median_seconds=0, clip_seconds=0.5), on_ready=ready)
sys.stdout.write("ended\\n")
"""


def _process(state_dir: Path) -> tuple[subprocess.Popen[str], str]:
    root = Path(__file__).parents[3]
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(state_dir)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_a_killed_simulator_keeps_every_answered_post(state_dir: Path, simulate: Any) -> None:
    process, url = _process(state_dir)
    try:
        body = {"gen_params": {"prompt": "kill me", "model_type": "udio130-v1.5", "seed": 1}}
        ids = [httpx.post(f"{url}/udio/generate-proxy", json=body).json()["data"] for _ in range(5)]
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    sim = simulate(state_dir=state_dir, speed=5.0)
    bill = sim.server.bill()
    assert [entry.generation_id for entry in bill] == ids
    assert {(entry.price, entry.dialect) for entry in bill} == {(2, "cometapi")}
    assert bill[0].body == body
    songs = sim.until(ids[-1], "SUCCESS")["data"]["songs"]
    assert songs[0]["song_path"].startswith(sim.server.url)
    assert sim.download(songs[0]).status_code == 200


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_serve_ends_cleanly_on_a_signal(state_dir: Path, sig: signal.Signals) -> None:
    process, url = _process(state_dir)
    assert httpx.get(f"{url}/_simulator/health").json() == {"status": "ok", "simulation": True}
    process.send_signal(sig)
    output, _ = process.communicate(timeout=10)
    assert (process.returncode, output) == (0, "ended\n")


def test_the_bill_adds_up(sim: Any) -> None:
    sim.submit()
    sim.submit(model_type="udio130-v1.5")
    sim.post(prompt=None)
    bill = sim.http.get("/_simulator/bill").json()
    assert (bill["posts"], bill["spent"]) == (2, 3)
    assert [entry["price"] for entry in bill["entries"]] == [1, 2]
    assert bill["entries"][0]["body"] == sim.body()


def test_the_bill_can_be_read_after_the_server_stops() -> None:
    with SimulatorServer(SimulatorSettings(median_seconds=0, clip_seconds=0.5)) as server:
        body = {"gen_params": {"prompt": "x", "model_type": "udio32-v1.5"}}
        httpx.post(f"{server.url}/udio/submit/music", json=body)
    assert len(server.bill()) == 1


def test_deleted_files_are_rendered_again_to_the_same_bytes(state_dir: Path, simulate: Any) -> None:
    sim = simulate(state_dir=state_dir)
    song = sim.songs(seed=-1)[0]
    before = sim.download(song).content
    for file in (state_dir / "audio").iterdir():
        file.unlink()
    assert sim.download(song).content == before
    again = simulate(state_dir=state_dir)
    (state_dir / "audio" / f"{song['generation_id']}-1.mp3").unlink()
    restarted = again.until(song["generation_id"], "SUCCESS")["data"]["songs"][0]
    assert restarted["song_path"] != song["song_path"]
    assert again.download(restarted).content == before


def test_two_simulators_share_a_state_directory(state_dir: Path, simulate: Any) -> None:
    """Two commands on one library each run an embedded simulator."""
    first, second = simulate(state_dir=state_dir), simulate(state_dir=state_dir)
    song = first.songs()[0]
    config = {"mode": "continuation", "source": {"source_type": "song", "song_id": song["id"]}}
    longer = second.songs(config=config)[0]
    assert longer["duration"] == pytest.approx(2 * song["duration"])
    assert [entry.generation_id for entry in first.server.bill()] == [
        song["generation_id"],
        longer["generation_id"],
    ]
    path = song["song_path"].removeprefix(first.server.url)
    assert second.http.get(path).status_code == 200


def test_requests_are_counted(sim: Any) -> None:
    song = sim.songs()[0]
    sim.post(prompt=None)
    sim.download(song, Authorization="Bearer oops")
    sim.http.get(song["song_path"] + "x")
    seen = sim.http.get("/_simulator/requests").json()
    assert seen["posts"] == {"seen": 2, "answered": {"200": 1, "400": 1}}
    assert seen["fetches"]["seen"] == seen["fetches"]["answered"]["200"]
    assert seen["downloads"] == {"seen": 2, "answered": {"200": 1, "404": 1}, "authorizations": 1}


def test_a_post_without_its_body_is_counted_but_not_billed(sim: Any, caplog: Any) -> None:
    """The client was killed between the headers and the body, which is no error of the simulator."""
    url = httpx.URL(sim.server.url)
    with socket.create_connection((url.host, url.port)) as sender:
        sender.sendall(b"POST /udio/generate-proxy HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    answered: dict[str, int] = {}
    while not answered:
        answered = sim.http.get("/_simulator/requests").json()["posts"]["answered"]
    assert answered == {"cut_off": 1}
    assert sim.server.bill() == []
    assert "Exception in ASGI application" not in caplog.text


def test_a_pool_serves_ready_made_takes(simulate: Any, state_dir: Path) -> None:
    sim = simulate(pool=3, state_dir=state_dir, clip_seconds=1.0)
    songs = [song for _ in range(6) for song in sim.songs()]
    assert len(list((state_dir / "audio").iterdir())) == 3
    assert len({sim.download(song).content for song in songs}) <= 3
    assert len({song["song_path"] for song in songs}) == 12
    config = {"mode": "precede", "source": {"source_type": "song", "song_id": songs[0]["id"]}}
    assert sim.songs(config=config)[0]["duration"] == pytest.approx(2.0)


def test_start_and_stop_are_quick_and_repeatable() -> None:
    server = SimulatorServer()
    began = time.perf_counter()
    url = server.start()
    started = time.perf_counter()
    assert server.start() == url
    assert httpx.get(f"{url}/_simulator/health").status_code == 200
    middle = time.perf_counter()
    server.stop()
    server.stop()
    assert started - began < 1.0
    assert time.perf_counter() - middle < 1.0
    with server:
        assert httpx.get(f"{server.url}/_simulator/health").status_code == 200


def test_stopping_closes_connections_and_removes_the_temporary_state(simulate: Any) -> None:
    sim = simulate(clip_seconds=20.0)
    sim.play({"fault": "slow", "on": "fetch", "seconds": 60})
    sim.submit()
    directory = sim.server.gateway.renders.directory
    assert directory.exists()
    began = time.monotonic()
    sim.close()
    assert time.monotonic() - began < 50, "it does not wait for the answer that takes 60 s"
    assert not directory.exists()


def test_a_failed_start_raises_a_clear_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(OSError, match="could not start"):
        SimulatorServer(SimulatorSettings(state_dir=blocked)).start()
    with SimulatorServer() as server, pytest.raises(OSError, match=r"[Aa]ddress"):
        SimulatorServer(port=int(server.url.rsplit(":", 1)[1])).start()
    unstarted = SimulatorServer()
    assert (unstarted.url, unstarted.bill()) == ("", [])
    with pytest.raises(RuntimeError):
        _ = unstarted.gateway


def test_answers_on_a_kept_alive_connection_are_not_delayed(sim: Any) -> None:
    """Nagle's algorithm and a delayed acknowledgement would add 40 ms to each."""
    took = []
    for _ in range(9):
        began = time.perf_counter()
        sim.query("nobody")
        took.append(time.perf_counter() - began)
    assert sorted(took)[4] < 0.03


def test_importing_the_package_is_cheap() -> None:
    code = (
        "import sys, songflow.simulator as s\n"
        "heavy = {'fastapi', 'uvicorn', 'numpy', 'soundfile', 'pydantic'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert set(s.__all__) <= set(dir(s)); s.SimulatorSettings()\n"
        "assert not {'fastapi', 'uvicorn', 'numpy', 'soundfile'} & set(sys.modules)\n"
        "s.create_app, s.serve, s.BillEntry, s.FaultRule\n"
        "assert not {'numpy', 'soundfile'} & set(sys.modules)\n"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(root)})


def test_an_unknown_name_raises_attribute_error() -> None:
    import songflow.simulator

    with pytest.raises(AttributeError, match="nothing"):
        _ = songflow.simulator.nothing


def test_the_server_listens_on_ipv6() -> None:
    try:
        server = SimulatorServer(host="::1")
        url = server.start()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    assert httpx.get(f"{url}/_simulator/health").status_code == 200
    server.stop()
