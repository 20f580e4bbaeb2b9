"""Callbacks: the simulator reports the end of a generation to the address in its submit, as each dialect does.

Faults on *callback*: `lost` (none is sent), `forged` (its signature or secret is wrong), `early` (it comes before the
end), `replayed` (it comes three times).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import time
from collections.abc import Mapping
from typing import Any

import httpx

from songflow.simulator.faults import FaultRule
from songflow.simulator.gateway import Gateway
from songflow.simulator.jobs import Job

log = logging.getLogger(__name__)

_PATIENCE_SECONDS = 15.0
_TICK_SECONDS = 0.05


def callback_address(body: Mapping[str, Any]) -> tuple[str, str] | None:
    """Where a submit wants its end to be reported, and the secret in it; None if nowhere."""
    config = body.get("config")
    hook = config.get("webhook_config") if isinstance(config, dict) else None
    if isinstance(hook, dict) and hook.get("endpoint"):
        return str(hook["endpoint"]), str(hook.get("secret", ""))
    address = body.get("callBackUrl")
    return (address, "") if isinstance(address, str) and ".invalid" not in address else None


async def call_back(gateway: Gateway, job: Job, rule: FaultRule | None) -> None:
    """Report one generation's end, or what the fault makes of it."""
    found = callback_address(job.body)
    fault = rule.fault if rule is not None else None
    if found is None or fault == "lost":
        return
    if fault != "early":
        await _wait_for_end(gateway, job)
    address, secret = found
    for _ in range(3 if fault == "replayed" else 1):
        headers, body = _message(gateway, job, secret, forged=fault == "forged")
        try:
            async with httpx.AsyncClient(timeout=_PATIENCE_SECONDS, trust_env=False) as client:
                gateway.traffic.callbacks[
                    str((await client.post(address, json=body, headers=headers)).status_code)
                ] += 1
        except httpx.HTTPError as error:
            gateway.traffic.callbacks[type(error).__name__] += 1


async def _wait_for_end(gateway: Gateway, job: Job) -> None:
    while True:
        if gateway.moment(job).due and (job.fail_reason or gateway.renders.ready(job)):
            return
        await asyncio.sleep(_TICK_SECONDS)


def _message(
    gateway: Gateway, job: Job, secret: str, *, forged: bool
) -> tuple[dict[str, str], dict[str, Any]]:
    """Headers and body in the dialect of the job."""
    task_id = job.generation_id
    if job.dialect == "piapi":
        status = "failed" if job.fail_reason else "completed"
        body = {"timestamp": int(time.time()), "data": {"task_id": task_id, "status": status}}
        return {"x-webhook-secret": "forged" if forged else secret}, body
    timestamp = str(int(time.time()))
    key = "forged" if forged else gateway.settings.webhook_key
    digest = hmac.new(key.encode(), f"{task_id}.{timestamp}".encode(), hashlib.sha256).digest()
    headers = {"X-Webhook-Timestamp": timestamp, "X-Webhook-Signature": base64.b64encode(digest).decode()}
    kind = "error" if job.fail_reason else "complete"
    data = {"callbackType": kind, "task_id": task_id, "data": []}
    return headers, {"code": 200, "msg": "All generated successfully.", "data": data}
