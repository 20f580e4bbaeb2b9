"""The files for containers agree with each other and with the plain processes; they are read, not run."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from deployments.cluster import Plan
from deployments.definitions import WORK_POOL

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "deployments" / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
DOCKERFILE = (ROOT / "deployments" / "Dockerfile").read_text()
OURS = f"songflow:{version('songflow')}"


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name):
    image = SERVICES[name]["image"]
    assert image == OURS or re.fullmatch(r"[a-z]+:\d+\.\d+(\.\d+)?-bookworm", image)


def test_every_part_that_others_wait_for_says_whether_it_is_healthy():
    for name, service in SERVICES.items():
        for needed, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[needed], f"{name} waits for {needed}"
            else:
                assert SERVICES[needed]["restart"] == "no", f"{name} waits for the end of {needed}"


def test_the_server_is_set_up_as_that_of_the_plain_processes():
    plain = Plan(Path("/"), "postgresql://host/postgres").server_environment("redis://redis:6379/0")
    for part in ("server", "services"):
        there = dict(SERVICES[part]["environment"])
        for name in set(plain) - {"PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_DOCKET_NAME"}:
            assert there[name] == plain[name], name
        assert there["PREFECT_API_DATABASE_CONNECTION_URL"].startswith("postgresql+asyncpg://")


def test_workers_share_the_songs_and_the_ledger():
    worker = SERVICES["worker"]
    assert worker["command"][:5] == ["prefect", "worker", "start", "--pool", WORK_POOL]
    assert worker["deploy"]["replicas"] >= 2
    assert "songs:/songs" in worker["volumes"]
    assert worker["environment"]["SONGFLOW_LEDGER_URL"].endswith("@postgres:5432/ledger")
    assert SERVICES["setup"]["environment"] == worker["environment"]


def test_keys_of_gateways_come_from_a_file_that_git_ignores():
    """It need not be there, so the compose file names no gateway."""
    for part in ("setup", "worker"):
        assert SERVICES[part]["env_file"] == [{"path": "keys.env", "required": False}]
    assert "/deployments/keys.env" in (ROOT / ".gitignore").read_text().splitlines()


def test_no_password_stands_in_the_file():
    for service in SERVICES.values():
        for name, value in (service.get("environment") or {}).items():
            if "PASSWORD" in name or "KEY" in name:
                assert value.startswith("${"), name
            assert not re.search(r"://\w+:(?!\$\{)[^@/]+@", value), name


def test_only_this_host_reaches_prefect():
    assert [port for service in SERVICES.values() for port in service.get("ports", ())] == [
        "127.0.0.1:4200:4200"
    ]


def test_the_image_runs_as_nobody_special_from_the_lock():
    lines = DOCKERFILE.splitlines()
    final = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM ")) :]
    assert any(re.fullmatch(r"USER (?!root)\w+", line) for line in final)
    assert all(re.search(r":\d+\.\d+\.\d+-", line) for line in lines if line.startswith("FROM "))
    assert "--require-hashes --requirement /build/requirements-cluster.lock" in DOCKERFILE
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        assert all((ROOT / one).exists() for one in source.split()), source


def test_the_lock_of_the_image_has_what_the_server_needs():
    lock = (ROOT / "requirements-cluster.lock").read_text()
    pinned = dict(re.findall(r"^([a-z0-9-]+)(?:\[.*\])?==(\S+)", lock, re.MULTILINE))
    assert "prefect-redis" in pinned
    smaller = dict(
        re.findall(r"^([a-z0-9-]+)(?:\[.*\])?==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    )
    assert {name: pinned[name] for name in smaller} == smaller
