"""`songflow doctor`: check a set-up, and say how to fix it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from cli.accounts import access_of
from cli.options import Common, Gateway, Paying, Waiting
from cli.output import Output, confirm
from cli.paid_command import NewSong, run_paid
from cli.prefect_mode import configured_server, load_prefect, trouble_with
from songflow.accounts import Access
from songflow.errors import InputError, InvalidEnvironment, SongflowError
from songflow.families.family import Request
from songflow.families.registry import models, parse_request
from songflow.settings import amount

if TYPE_CHECKING:
    from deployments.health import Check

__all__ = ["Report", "Spend", "doctor"]

_MARKS = {"ok": "ok", "hint": "--", "bad": "!!"}
_PROMPT = "a short test tune on a piano"
_SPEND = Group("Spend", sort_key=1)
_REPORT = Group("Report", sort_key=2)


@Parameter(name="*", group=_SPEND)
@dataclass(frozen=True)
class Spend:
    """A live test of a key.

    Parameters
    ----------
    spend
        Make one song with the cheapest model, after asking: it costs its price. See --gateway.
    yes
        With --spend: do not ask.
    """

    spend: Annotated[bool, Parameter(negative="")] = False
    yes: Annotated[bool, Parameter(negative="")] = False

    def check(self) -> None:
        """Raise InputError for options that contradict each other."""
        if self.yes and not self.spend:
            raise InputError("--yes belongs to --spend.", next="add --spend, or leave it out.")


@Parameter(name="*", group=_REPORT)
@dataclass(frozen=True)
class Report:
    """A file for somebody who looks for a fault.

    Parameters
    ----------
    report
        Also write a report: versions, settings, checks and the last answers of gateways, without any key; with --spend
        those of the song, even if it failed. Play it back with `songflow simulate --replay`.
    output
        With --report: the file (default: songflow-report-<time>.json here).
    """

    report: Annotated[bool, Parameter(negative="")] = False
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None

    def check(self) -> None:
        """Raise InputError for options that contradict each other."""
        if self.output is not None and not self.report:
            raise InputError("--output belongs to --report.", next="add --report, or leave it out.")

    def path(self) -> Path | None:
        """The file to write, which is new; None without --report.

        Raises:
            InputError: it is there already, or its folder is not.
        """
        if not self.report:
            return None
        from deployments.report_bundle import require_new

        path = self.output or Path(f"songflow-report-{datetime.now(UTC):%Y%m%d-%H%M%S}.json")
        require_new(path)
        return path


def doctor(
    *,
    spend: Spend = Spend(),
    report: Report = Report(),
    gateway: Gateway = Gateway(),
    common: Common = Common(),
) -> int:
    """Check every part of the set-up, and say how to fix what does not work. Spends nothing without --spend.

    Exit code: 0 if everything works (hints do not count), 1 if something does not.
    """
    for part in (spend, report, gateway):
        part.check()
    output = Output(as_json=common.json, quiet=common.quiet)
    path = report.path()
    if spend.spend:
        return _spend(output, spend, path, gateway, common)
    checks = asyncio.run(_all(gateway, common, None if output.as_json else output))
    code = 1 if any(check.state == "bad" for check in checks) else 0
    more = {} if path is None else _write_report(path, checks, common)
    if output.as_json:
        output.object({"healthy": code == 0, "checks": [check.as_dict() for check in checks], **more})
        return code
    wrong = sum(check.state == "bad" for check in checks)
    output.line("Everything works." if code == 0 else f"{wrong} of {len(checks)} parts do not work.")
    if path is not None:
        output.line(_wrote(path))
    return code


def _write_report(path: Path, checks: list[Check], common: Common) -> dict[str, str]:
    """Write the report; the field of the answer in JSON that names it."""
    from deployments.report_bundle import make_bundle, newest_answers, write_bundle

    write_bundle(make_bundle(checks, asyncio.run(newest_answers(common.library_settings()))), path)
    return {"report": str(path.absolute())}


def _wrote(path: Path) -> str:
    return (
        f"Wrote {path}. It has no key, but titles, lyrics and addresses as the gateways answered them: look "
        "through it before you send it."
    )


async def _all(gateway: Gateway, common: Common, shown: Output | None) -> list[Check]:
    """The results of all checks, each shown at once (None: not at all)."""
    checks = []
    async for check in _checks(gateway, common):
        checks.append(check)
        if shown is not None:
            mend = f" Mend: {check.mend}" if check.mend else ""
            shown.line(f"{_MARKS[check.state]}  {check.part}: {check.said}{mend}")
    return checks


async def _checks(gateway: Gateway, common: Common) -> AsyncIterator[Check]:
    from deployments.doctor import check_machine
    from deployments.health import bad, hint

    name = gateway.gateway or "simulator"
    given: dict[str, str] = {name: gateway.base_url} if gateway.base_url else {}
    async for check in check_machine(common.library_settings, given):
        yield check
    start = "run `prefect server start` and set PREFECT_API_URL=http://127.0.0.1:4200/api."
    try:
        server = configured_server()
        if server is None:
            said = "none is configured: no schedules and no UI; the command needs none."
            yield hint("Prefect server", said, start)
            return
        trouble = await trouble_with(server)
        if trouble is not None:
            yield bad("Prefect server", f"{server.shown} {trouble}.", start)
            return
        load_prefect()
    except InvalidEnvironment as error:
        yield bad("Prefect server", error.message, error.next or start)
        return
    from deployments.doctor_server import check_server

    async for check in check_server():
        yield check


def _spend(output: Output, spend: Spend, path: Path | None, gateway: Gateway, common: Common) -> int:
    """Make one song with the cheapest model, to test the key, the account and the whole path.

    The report, if there is to be one, is written after it, whatever became of the song.
    """
    access = asyncio.run(access_of(gateway))
    request, price = _cheapest(access)
    question = (
        f"One song with {request.model_type} at {access.place_text}, account "
        f"{access.account.alias}, costs {amount(price, common.library_settings().unit)}."
    )
    if spend.yes:
        output.say(question)
    else:
        confirm(question, "Make it?", "nothing: nothing was spent.")
    report = partial(_report_on_song, path, gateway, common)
    try:
        result = run_paid(output, NewSong(request), Paying(budget=price), gateway, Waiting(), common)
    except SongflowError as error:
        output.error(error, report())
        code = error.exit_code
    else:
        output.result(result, common.library_settings().unit, report())
        code = 0
    if path is not None and not output.as_json:
        output.line(_wrote(path))
    return code


def _report_on_song(path: Path | None, gateway: Gateway, common: Common) -> dict[str, str]:
    if path is None:
        return {}
    return _write_report(path, asyncio.run(_all(gateway, common, None)), common)


def _cheapest(access: Access) -> tuple[Request, float]:
    sold = [name for name in models() if access.sells_model(name)]
    if not sold:
        raise InputError(
            f"{access.gateway} sells no model that is known here.",
            next="install the package of its model family; nothing was sent.",
        )
    requests = [parse_request({"prompt": _PROMPT, "model_type": name}) for name in sold]
    request = min(requests, key=access.price_of)
    return request, access.price_of(request)
