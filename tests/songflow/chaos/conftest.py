"""The chaos test's parts: a gateway in a process of its own whose faults follow the prompt, and its workers."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from songflow.accounts import Access
from songflow.gateways import DIALECTS, Account
from songflow.ledger.rows import Submission

SEED = 20_261_122
KEYS = 1000
WORKERS = 4
KILLS = 10
FAULTY = 0.2
ALWAYS: dict[str, Any] = {"times": None}
OFTEN: dict[str, Any] = {"times": None, "probability": 0.4}

SUBMIT: tuple[dict[str, Any], ...] = (
    {"fault": "lost_answer", **ALWAYS},
    {"fault": "lost_answer_before", **ALWAYS},
    {"fault": "reset_during_body", **ALWAYS},
    {"fault": "answer_cut", **ALWAYS},
    {"fault": "slow_answer", "seconds": 1.0, **ALWAYS},
    {"fault": "slow_drip", "seconds": 0.5, **ALWAYS},
    {"fault": "status", "status": 429, "times": 1},
    {"fault": "status", "status": 502, "billed": True, **ALWAYS},
    {"fault": "status", "status": 503, **OFTEN},
    {"fault": "status", "status": 504, "billed": True, **ALWAYS},
    {"fault": "status", "status": 524, **ALWAYS},
    {"fault": "no_channel", "language": "zh", **OFTEN},
    {"fault": "do_request_failed", "billed": True, **ALWAYS},
    {"fault": "unmarshal_response_body_failed", "billed": True, **ALWAYS},
    {"fault": "fail_to_fetch_task", **ALWAYS},
    {"fault": "html", "billed": True, **ALWAYS},
    {"fault": "no_id", **ALWAYS},
    {"fault": "non_json_2xx", **ALWAYS},
    {"fault": "non_utf8", **ALWAYS},
    {"fault": "moderated", **ALWAYS},
    {"fault": "raw_generation_id", **ALWAYS},
    {"fault": "task_id", **ALWAYS},
    {"fault": "quota_not_enough", **ALWAYS},
    {"fault": "refusal_in_2xx", **ALWAYS},
    {"fault": "redirect", **ALWAYS},
)
FETCH: tuple[dict[str, Any], ...] = (
    {"fault": "status", "status": 500, **OFTEN},
    {"fault": "status", "status": 429, "retry_after": 1, **OFTEN},
    {"fault": "html", **OFTEN},
    {"fault": "empty", **OFTEN},
    {"fault": "slow", "seconds": 0.5, **OFTEN},
    {"fault": "reset", **OFTEN},
    {"fault": "null_data", **OFTEN},
    {"fault": "fail_to_fetch_task", **OFTEN},
    {"fault": "not_visible_yet", "fetches": 3, **ALWAYS},
    {"fault": "unknown_for_ever", **ALWAYS},
    {"fault": "backwards", "fetches": 2, **ALWAYS},
    {"fault": "success_no_songs", "seconds": 60.0, **ALWAYS},
    {"fault": "songs_before_success", "seconds": 60.0, **ALWAYS},
    {"fault": "one_take_fails", **ALWAYS},
    {"fault": "all_takes_fail", **ALWAYS},
    {"fault": "one_take_only", **ALWAYS},
    {"fault": "late_take", "seconds": 60.0, "listed": True, **ALWAYS},
    {"fault": "vanishes", "fetches": 1, **ALWAYS},
    {"fault": "failure", **ALWAYS},
    {"fault": "failure_with_song", **ALWAYS},
    {"fault": "hostile_titles", **ALWAYS},
)
DOWNLOAD: tuple[dict[str, Any], ...] = (
    {"fault": "status", "status": 500, **OFTEN},
    {"fault": "dead", **OFTEN},
    {"fault": "truncated", **OFTEN},
    {"fault": "wrong_length", **OFTEN},
    {"fault": "slow", "seconds": 0.5, **OFTEN},
    {"fault": "slow_drip", "seconds": 0.5, **OFTEN},
    {"fault": "reset_before", **OFTEN},
    {"fault": "reset_during", **OFTEN},
    {"fault": "no_range", **OFTEN},
    {"fault": "html_200", **OFTEN},
    {"fault": "corrupt", **OFTEN},
    {"fault": "redirect", **OFTEN},
)
# A take that is listed late is only waited for where the submit's answer promised it.
PROMISED_LATE = (
    {"fault": "raw_generation_id", "on": "submit", "match": "<promised>", **ALWAYS},
    {"fault": "late_take", "on": "fetch", "match": "<promised>", "seconds": 60.0, **ALWAYS},
)
STAGES = {"submit": SUBMIT, "fetch": FETCH, "download": DOWNLOAD}


def planned_prompts(luck: random.Random) -> dict[str, str]:
    """A prompt for each key; in each stage a fifth of the prompts name a fault of the gateway."""
    prompts: dict[str, str] = {}
    for number in range(KEYS):
        tags = [
            f"<{stage}-{luck.randrange(len(rules))}>"
            for stage, rules in STAGES.items()
            if luck.random() < FAULTY
        ]
        if number % 100 == 7:
            tags = ["<promised>"]
        prompts[f"k{number}"] = " ".join((f"song number {number} of a long night", *tags))
    return prompts


def script() -> list[dict[str, Any]]:
    """The gateway's rules: each applies to the prompts that name it."""
    return [*PROMISED_LATE] + [
        {**rule, "on": stage, "match": f"<{stage}-{number}>"}
        for stage, rules in STAGES.items()
        for number, rule in enumerate(rules)
    ]


@dataclass
class Chaos:
    """A gateway on a socket, and worker processes on one library."""

    folder: Path
    url: str
    prompts: dict[str, str]
    running: dict[int, asyncio.subprocess.Process] = field(default_factory=dict)
    kills: int = 0

    @property
    def library(self) -> Path:
        """The library that all workers share."""
        return self.folder / "library"

    @property
    def workers(self) -> range:
        """The numbers of the workers."""
        return range(WORKERS)

    def kill_counts(self, luck: random.Random) -> list[int]:
        """The numbers of billed requests at which a worker is killed."""
        return sorted(luck.sample(range(20, KEYS * 3 // 4), KILLS))

    def billed(self) -> int:
        """Number of requests on the gateway's durable bill."""
        with closing(
            sqlite3.connect(f"file:{self.folder / 'gateway' / 'simulator.sqlite'}?mode=ro", uri=True)
        ) as db:
            count: int = db.execute("SELECT count(*) FROM jobs").fetchone()[0]
            return count

    def bill(self) -> dict[str, str]:
        """Each billed generation id with the key whose prompt it was billed for."""
        key_of = {prompt: key for key, prompt in self.prompts.items()}
        entries = httpx.get(f"{self.url}/_simulator/bill", timeout=60).json()["entries"]
        return {entry["generation_id"]: key_of[entry["body"]["gen_params"]["prompt"]] for entry in entries}

    def heal(self) -> None:
        """End every fault."""
        httpx.put(f"{self.url}/_simulator/faults", json=[]).raise_for_status()

    async def offered(self, ids: list[str]) -> dict[str, set[str]]:
        """The ids of the songs that the gateway lets anybody fetch now, by generation, by its own words."""
        async with httpx.AsyncClient(base_url=self.url, timeout=30) as client:
            limit = asyncio.Semaphore(8)

            async def songs_of(generation_id: str) -> set[str]:
                for _ in range(40):
                    async with limit:
                        try:
                            answer = (await client.get(f"/udio/fetch/{generation_id}")).json()
                        except (httpx.HTTPError, ValueError):
                            continue
                    inner = (answer.get("data") or {}).get("data") or {}
                    found = {one["id"] for one in inner.get("songs") or [] if one["song_path"]}
                    if found or answer.get("code") == "task_not_exist":
                        return found
                return set()

            return dict(zip(ids, await asyncio.gather(*map(songs_of, ids)), strict=True))

    async def resolve(self, submission: Submission) -> Access | None:
        """The access of any worker, as a person's blocks would give it."""
        number = int(submission.account.removeprefix("worker"))
        secret = SecretStr(self.secret(number))
        return Access(Account(DIALECTS[self.gateway(number)], self.url, submission.account, secret))

    def gateway(self, number: int) -> str:
        """A worker's dialect: half of them see bare lists of songs, half a status word."""
        return ("cometapi", "openai-hk")[number % 2]

    def secret(self, number: int) -> str:
        """A worker's key at the gateway: each is slowed down by its own 429s only."""
        return f"sk-chaos-worker-{number}-0123456789"

    def attended(self) -> Counter[str]:
        """How each key ended."""
        return Counter(
            json.loads(line)["end"]
            for number in self.workers
            for line in self._attended(number).read_text().splitlines()
        )

    def _attended(self, number: int) -> Path:
        return self.folder / f"attended{number}.jsonl"

    async def start(self, number: int) -> None:
        """Start a worker on its share, or start it again on what is left."""
        plan = self.folder / f"plan{number}.json"
        self._attended(number).touch()
        mine = {key: text for key, text in self.prompts.items() if int(key[1:]) % WORKERS == number}
        facts = {
            "folder": str(self.library), "url": self.url, "keys": mine, "attended": str(self._attended(number)),
            "alias": f"worker{number}", "gateway": self.gateway(number), "secret": self.secret(number),
            "deadline": 8.0, "at_once": 25,
        }  # fmt: skip
        plan.write_text(json.dumps(facts))
        with (self.folder / f"worker{number}.log").open("ab") as log:
            self.running[number] = await asyncio.create_subprocess_exec(
                sys.executable,
                str(Path(__file__).with_name("chaos_worker.py")),
                str(plan),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def kill(self, number: int) -> None:
        """Send SIGKILL."""
        self.running[number].kill()
        await self.running[number].wait()
        self.kills += 1

    def logs(self) -> str:
        """The logs of the workers."""
        return "\n".join((self.folder / f"worker{number}.log").read_text() for number in self.workers)

    def facts(self) -> dict[str, float]:
        """CPU seconds of the processes that have ended."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {"cpu_seconds": round(used.ru_utime + used.ru_stime, 1)}


@pytest.fixture
def gateway_process(tmp_path: Path) -> Iterator[str]:
    """`songflow simulate` with every fault there is; its URL."""
    faults = tmp_path / "faults.json"
    faults.write_text(json.dumps(script()))
    command = [
        str(Path(sys.executable).parent / "songflow"), "simulate", "--json", "--port", "0", "--pool", "8",
        "--speed", "200", "--clip-seconds", "0.5", "--state", str(tmp_path / "gateway"), "--faults", str(faults),
    ]  # fmt: skip
    with (tmp_path / "gateway.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd=tmp_path)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, (tmp_path / "gateway.log").read_text()
    yield json.loads(line)["url"]
    process.kill()
    process.communicate()


@pytest.fixture
async def chaos(tmp_path: Path, gateway_process: str) -> AsyncIterator[Chaos]:
    """The setting of the test; only the gateway runs."""
    opened = Chaos(tmp_path, gateway_process, planned_prompts(random.Random(SEED)))
    yield opened
    for process in opened.running.values():
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
def luck() -> random.Random:
    """Decides when and which worker is killed: the same in every run."""
    return random.Random(SEED + 1)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what the chaos test counted."""
    for report in terminalreporter.stats.get("passed", []):
        for name, line in report.user_properties:
            if name == "chaos":
                terminalreporter.write_line(line)
