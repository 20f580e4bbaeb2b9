"""`songflow webhooks` as a process: what it needs, that it takes callbacks, and that Ctrl-C ends it."""

from __future__ import annotations

import json
import signal
from typing import Any

import httpx


def test_a_receiver_needs_a_library_an_address_and_a_secret(shell: Any) -> None:
    """Each is asked for in a sentence; then it takes callbacks until Ctrl-C."""
    address: dict[str, str | None] = {"SONGFLOW_WEBHOOK_URL": "https://hooks.example.com"}
    both = {**address, "SONGFLOW_WEBHOOK_SECRET": "0123456789abcdef"}

    def error(*options: str, env: dict[str, str | None] | None = None) -> str:
        refused = shell.run("webhooks", "--json", *options, env=env)
        assert refused.code == 2
        return str(refused.json["error"])

    assert "There is no library" in error(env=both)
    assert shell.run("pause").code == 0
    assert "SONGFLOW_WEBHOOK_URL is not set" in error()
    assert "SONGFLOW_WEBHOOK_SECRET" in error(env=address)
    assert "--port is 70000" in error("--port", "70000", env=both)
    process = shell.start("webhooks", "--port", "0", "--json", env=both)
    told = json.loads(process.stdout.readline())
    assert told["public_url"] == "https://hooks.example.com"
    assert httpx.post(f"{told['url']}/kie", json={}).json() == {"status": "received"}
    assert httpx.post(f"{told['url']}/nobody", json={}).status_code == 404
    process.send_signal(signal.SIGINT)
    assert shell.end(process).code == 0
