"""A process that forks processes, each of which takes one step in a library and may be killed in it.

Importing Songflow takes a second of CPU and a fork takes milliseconds, so it is imported once. A fork is a
process of its own: it sets the environment that it was given and reads the armed fail point from there, as a
new interpreter does. Lines of JSON come on stdin and go out on stdout:

    {"start": [plan, ...]}  -> the process ids; all of them begin together
    {"wait": [pid, ...]}    -> returncode, stdout and stderr of each
    {"log": pid}            -> its stderr so far
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from pydantic import SecretStr
from sqlalchemy import delete
from sqlalchemy.ext import asyncio as asyncio_engines
from support.senders import fill, fork_sender
from support.warmth import make_a_song

# Imported here so that no fork needs to: what a generation uses, to its end.
import songflow.ledger.migrate
import songflow.simulator  # noqa: F401
from songflow.accounts import Access
from songflow.downloads import downloader
from songflow.errors import SongflowError
from songflow.families.registry import parse_request
from songflow.gateways import DIALECTS, Account
from songflow.gateways.tls import tls_context
from songflow.generation import ending, lifecycle, post, rescue, submit
from songflow.generation.policy import PaidRequest
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from songflow.ledger import Ledger, engine, lease, schema, spool, sqlite_file, submissions
from songflow.ledger.hints import Hint
from songflow.ledger.judgements import Judgement, JudgementKind
from songflow.library import audio_store, rebuild
from songflow.library.measuring import measure_missing
from songflow.polling import loop
from songflow.recipes.making import make_whole_song
from songflow.recipes.plain import PlainCrew, settings_for
from songflow.recipes.shelf import find_recipe
from songflow.runtime import failpoints, retry
from songflow.sender import client
from songflow.settings import LibrarySettings

LOADED_LATE = ("soundfile", "httpx", "asyncpg", "fsspec.implementations.local")
WITH_POINTS = (post, spool, engine, audio_store, downloader)
WITH_CLOCKS = (lease, submissions, submit, post, ending)


def at_point(point: str, act: Callable[[], None]) -> None:
    """Call `act` when the process first reaches a fail point."""
    acts = [act]

    def reached(name: str) -> None:
        if name == point and acts:
            acts.pop()()
        failpoints.reached(name)

    for module in WITH_POINTS:
        module.reached = reached


def stop() -> None:
    """Suspend this process until somebody continues it."""
    os.kill(os.getpid(), signal.SIGSTOP)


def turn_clock(seconds: float) -> None:
    """Set this process's wall clock forward; its monotonic clock is unchanged."""

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz or UTC) + timedelta(seconds=seconds)

    for module in WITH_CLOCKS:
        module.datetime = Shifted


def fall_with_the_sender() -> None:
    """A sender that dies takes this process with it, as when the machine dies."""
    post_to = client.Sender.post

    async def post(self: client.Sender, order: Any) -> Any:
        try:
            return await post_to(self, order)
        except client.SenderGone:
            os.kill(os.getpid(), signal.SIGKILL)

    client.Sender.post = post


def die_on_cue(death: str) -> None:
    """At SIGUSR1, end in a way that only the process itself can."""

    def die(*_: object) -> None:
        match death:
            case "os._exit":
                os._exit(3)
            case "an uncaught error":
                raise ZeroDivisionError
            case "a fork in between":
                if os.fork():
                    os._exit(3)
                time.sleep(60)
                os._exit(0)

    signal.signal(signal.SIGUSR1, die)


def prepare(plan: dict[str, Any]) -> None:
    """Apply the plan's faults, clock and time limits to this process."""
    if plan.get("one_machine"):
        fall_with_the_sender()
    client._MARGIN_SECONDS = plan.get("margin", client._MARGIN_SECONDS)
    if "death" in plan:
        os.setsid()
        die_on_cue(plan["death"])
    if "stop_at" in plan:
        at_point(plan["stop_at"], stop)
    if "fill_at" in plan:
        at_point(plan["fill_at"], lambda: fill(Path(plan["disk"])))
    if "turn_at" in plan:
        at_point(plan["turn_at"], lambda: turn_clock(plan["clock"]))
    elif "clock" in plan:
        turn_clock(plan["clock"])
    if "connections" in plan:
        make = asyncio_engines.create_async_engine
        asyncio_engines.create_async_engine = lambda url, **how: make(
            url, **{**how, "pool_size": plan["connections"]}
        )
    if "patience" in plan:
        retry.LEDGER_BACKOFF = replace(retry.LEDGER_BACKOFF, within=plan["patience"])
    sqlite_file.BUSY_TIMEOUT_SECONDS = plan.get("busy", sqlite_file.BUSY_TIMEOUT_SECONDS)
    loop.VISIBILITY_SECONDS = plan.get("visibility", loop.VISIBILITY_SECONDS)


async def lose(ledger: Ledger) -> None:
    """Empty the ledger, as if its file had been deleted."""
    async with ledger.database.write("hold") as connection:
        for table in reversed(schema.metadata.sorted_tables):
            await connection.execute(delete(table))


async def step(plan: dict[str, Any]) -> Any:
    """Run one command on one library."""
    library = LibrarySettings(
        Path(plan["folder"]),
        ledger_url=plan.get("ledger_url"),
        audio_url=plan.get("audio_url"),
        budget=plan.get("budget"),
    )
    chosen = {"poll_interval": 0.05, "deadline": 60.0, "retries": 0, **plan.get("settings", {})}
    settings = SessionSettings(**chosen)
    secret = SecretStr(plan["secret"]) if "secret" in plan else None
    access = Access(Account(DIALECTS[plan.get("gateway", "simulator")], plan["url"], "test", secret))
    key = plan["key"]

    async def resolver(_: Any) -> Access:
        return access

    async with Session(library, settings, resolver) as session:
        match plan.get("command", "generate"):
            case "generate":
                named = {"model_type": plan["model"]} if "model" in plan else {}
                request = parse_request({"prompt": plan["prompt"], **named})
                return (await lifecycle.generate_in(session, request, access, key=key)).as_dict()
            case "hint":
                request = parse_request({"prompt": plan["prompt"]})
                sent = (await lifecycle.submit(session, PaidRequest(request, key), access)).submission
                hint = Hint("a mark", sent.gateway, sent.generation_id or "")
                return await session.library.ledger.hints.record(hint)
            case "song":
                recipe = find_recipe(plan["recipe"])
                session.settings = settings_for(recipe, key, settings)
                crew = PlainCrew(session)
                whole = await make_whole_song(
                    session, recipe, [access], crew, key=key, choices=plan.get("choices", {})
                )
                return whole.as_dict()
            case "resubmit":
                return (await rescue.resubmit(session, key, access)).as_dict()
            case "adopt":
                return (await rescue.adopt(session, plan["id"], key=key, given=access)).as_dict()
            case "rescue":
                rescued = await rescue.rescue(session, access)
                return {"exit_code": rescue.exit_code(rescued), "rows": [one.as_dict() for one in rescued]}
            case "write-off":
                return (await rescue.write_off(session, key)).as_dict()
            case "pause":
                return await session.library.ledger.money.pause("a test")
            case "resume":
                return await session.library.ledger.money.resume()
            case "rate":
                ledger = session.library.ledger
                song = (await ledger.songs.of_key(key))[0]
                return len(await ledger.judgements.record([Judgement(song.id, JudgementKind.RATING, 4.0)]))
            case "measure":
                return (await measure_missing(session.library.ledger.measures)).measured
            case "note":
                songs = session.library.ledger.songs
                return await songs.add_note((await songs.of_key(key))[0], "a remark")
            case "lose the ledger":
                return await lose(session.library.ledger)
            case "rebuild":
                place = ("simulator", plan["url"])
                found = await rebuild.rebuild(session.library, library.folder, [place])
                return {"rows": [one.as_dict() for one in found]}
            case other:
                raise ValueError(other)


def in_thread(work: Coroutine[Any, Any, Any]) -> Any:
    """Run it in another thread, as a server does; this one waits."""
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(asyncio.run(work)), daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.05)
    return done[0]


def run(plan: dict[str, Any]) -> int:
    """Take the step; returns the exit code that the command line would have."""
    os.environ.update(plan.get("environment", {}))
    importlib.reload(failpoints)  # it reads the environment, as in a new interpreter
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, force=True)
    prepare(plan)
    try:
        result = in_thread(step(plan)) if plan.get("thread") else asyncio.run(step(plan))
    except SongflowError as error:
        sys.stdout.write(json.dumps({"error": str(error), "kind": type(error).__name__, **error.facts()}))
        return error.exit_code
    sys.stdout.write(json.dumps(result))
    code = result.get("exit_code", 0) if isinstance(result, dict) else 0
    return int(code)


def fork(plan: dict[str, Any], gate: tuple[int, int], said: IO[str], complained: IO[str]) -> int:
    """Fork a process that waits at the gate and then takes its step."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.close(gate[1])
        os.dup2(said.fileno(), 1)
        os.dup2(complained.fileno(), 2)
        if plan["forks_sender"]:
            fork_sender()
        os.read(gate[0], 1)  # returns when the last writer has closed it
        code = run(plan)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Serve until stdin ends."""
    outputs: dict[int, tuple[IO[str], IO[str]]] = {}
    for name in LOADED_LATE:
        importlib.import_module(name)
    tls_context()
    make_a_song()
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        if "start" in asked:
            gate = os.pipe()
            pids = []
            for plan in asked["start"]:
                files = (tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+"))  # noqa: SIM115
                pid = fork(plan, gate, *files)
                outputs[pid] = files
                pids.append(pid)
            os.close(gate[1])
            os.close(gate[0])
            answer: Any = pids
        elif "log" in asked:
            file = outputs[asked["log"]][1]
            answer = os.pread(file.fileno(), 1 << 20, 0).decode()
        else:
            answer = []
            for pid in asked["wait"]:
                _, status = os.waitpid(pid, 0)
                texts = []
                for file in outputs.pop(pid):
                    file.seek(0)
                    texts.append(file.read())
                    file.close()
                answer.append([os.waitstatus_to_exitcode(status), *texts])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for pid in outputs:  # a test has failed before it waited for them
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
