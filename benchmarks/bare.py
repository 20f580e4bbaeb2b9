"""The bare script that Songflow is compared with: asyncio and httpx, K at once, no records and no recovery.

It does the same POSTs, polls, downloads and durable writes (part file, fsync, rename, fsync of the folder) as a
sweep of Songflow, and nothing else: killed halfway, it has forgotten what was paid for.

    python benchmarks/bare.py URL FOLDER --cells 1000 --slots 50 --poll-interval 0.5 [--check]
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path
from typing import Any

import httpx


async def main(arguments: argparse.Namespace) -> None:
    """Make all cells, at most `slots` of them at the gateway at once."""
    arguments.folder.mkdir(parents=True, exist_ok=True)
    slots = asyncio.Semaphore(arguments.slots)
    async with httpx.AsyncClient(base_url=arguments.url, timeout=60, trust_env=False) as client:
        await asyncio.gather(
            *(one_cell(client, slots, number, arguments) for number in range(arguments.cells))
        )


async def one_cell(
    client: httpx.AsyncClient, slots: asyncio.Semaphore, number: int, arguments: argparse.Namespace
) -> None:
    """Submit a cell, poll until its songs are ready, download them."""
    async with slots:
        answer = await client.post("/udio/submit/music", json=body(number))
        generation_id = answer.raise_for_status().json()["data"]
        songs = await finished(client, generation_id, arguments.poll_interval)
    await asyncio.gather(*(fetch(client, song, arguments.folder, arguments.check) for song in songs))


async def finished(
    client: httpx.AsyncClient, generation_id: str, poll_interval: float
) -> list[dict[str, Any]]:
    """Poll until a generation has ended; its songs."""
    while True:
        await asyncio.sleep(poll_interval)
        answer = await client.get(f"/udio/fetch/{generation_id}")
        about = answer.raise_for_status().json()["data"]
        if about["status"] == "SUCCESS":
            songs: list[dict[str, Any]] = about["data"]["songs"]
            return songs
        if about["status"] == "FAILURE":
            raise SystemExit(f"{generation_id} failed: {about['fail_reason']}")


async def fetch(client: httpx.AsyncClient, song: dict[str, Any], folder: Path, check: bool) -> None:
    """Download a song; it gets its final name only when it is complete."""
    part = folder / f"{song['id']}.part"
    async with client.stream("GET", song["song_path"]) as answer:
        answer.raise_for_status()
        with part.open("wb") as file:
            async for chunk in answer.aiter_bytes():
                file.write(chunk)
            await asyncio.to_thread(sync, file.fileno())
    if check:
        await asyncio.to_thread(decode, part)
    part.rename(folder / f"{song['id']}.mp3")
    await asyncio.to_thread(sync_folder, folder)


def sync(descriptor: int) -> None:
    """Sync a file to disk."""
    os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Sync a folder's entries to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def decode(path: Path) -> None:
    """Decode a song to its end; a broken one raises."""
    import soundfile

    with soundfile.SoundFile(str(path)) as file:
        while len(file.read(1 << 17, dtype="float32")):
            pass


def body(number: int) -> dict[str, Any]:
    """The wire body of a cell; cells differ in their seed."""
    return {
        "gen_params": {
            "prompt": "a waltz for the benchmark", "lyrics": "", "lyrics_type": "instrumental",
            "bypass_prompt_optimization": False, "seed": number, "song_section_start": 0, "song_section_end": 1,
            "prompt_strength": 0.5, "clarity_strength": 0.25, "lyrics_strength": 0.5, "generation_quality": 0.75,
            "negative_prompt": "", "model_type": "udio32-v1.5", "config": {"mode": "regular"},
        }
    }  # fmt: skip


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Songs by a bare loop.")
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--slots", type=int, default=50)
    parser.add_argument("--poll-interval", type=float, default=0.5)
    parser.add_argument("--check", action="store_true", help="decode each song to its end")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(read_arguments()))
