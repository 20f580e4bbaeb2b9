"""`songflow rescue`: collect songs that were paid for and not stored, and settle requests with unknown outcome."""

from __future__ import annotations

import asyncio
import logging
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from cyclopts import Group, Parameter

from cli.accounts import given_access, resolve
from cli.options import Common, Gateway, Waiting
from cli.output import SIMULATED, Output, confirm
from cli.paid_command import guarded, named
from songflow.accounts import place_text
from songflow.documents.text import counted, one_line
from songflow.errors import InputError, SongflowError, StillRunning
from songflow.gateways import bills_nothing
from songflow.generation import rescue as domain
from songflow.generation.error_texts import unsettled_error
from songflow.generation.rescue import Rescued
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from songflow.ledger.queries import leading_submission
from songflow.ledger.states import RULES, State
from songflow.settings import amount

__all__ = ["Choice", "rescue"]

log = logging.getLogger(f"songflow.{__name__}")

_RESCUE = Group("Rescue", sort_key=1)
_PROMPT_LENGTH = 60
_ANSWER_LENGTH = 400
_MOST_IDS = 5

Row = dict[str, Any]


@Parameter(name="*", group=_RESCUE)
@dataclass(frozen=True)
class Choice:
    """What to do instead of collecting everything.

    Parameters
    ----------
    list
        Only list stranded requests, with all that is known about them; nothing is sent or changed.
    adopt
        A generation id, found in the gateway's own log: the outcome of an unknown request, or the right id of one
        that is lost or overdue. It is collected.
    key
        With --adopt: the request key of the generation, or its beginning, if several are possible.
    write_off
        Give up this request key (or the one that begins so): stop looking for its outcome, and release its reservation.
    resubmit
        Pay again for this request key, whose generation is unknown, lost, overdue or failed. Asks first.
    yes
        With --resubmit: do not ask.
    """

    list: Annotated[bool, Parameter(name="--list", negative="")] = False
    adopt: str | None = None
    key: str | None = None
    write_off: str | None = None
    resubmit: str | None = None
    yes: Annotated[bool, Parameter(negative="")] = False

    def check(self) -> None:
        """Raise InputError for options that contradict each other."""
        chosen = [
            name
            for name, value in (
                ("--list", self.list or None),
                ("--adopt", self.adopt),
                ("--write-off", self.write_off),
                ("--resubmit", self.resubmit),
            )
            if value is not None
        ]
        if len(chosen) > 1:
            raise InputError(
                f"{' and '.join(chosen)} were given together.", next="choose one of them; nothing was sent."
            )
        for name, value, other, needed in (
            ("--key", self.key, "--adopt", self.adopt),
            ("--yes", self.yes or None, "--resubmit", self.resubmit),
        ):
            if value is not None and needed is None:
                raise InputError(f"{name} belongs to {other}.", next=f"add {other}, or leave it out.")


def rescue(
    *,
    choice: Choice = Choice(),
    poll_interval: float | None = None,
    deadline: float | None = None,
    gateway: Gateway = Gateway(),
    common: Common = Common(),
) -> int:
    """Collect everything that was paid for and is not on disk. Run it at any time: it pays only if asked to.

    Parameters
    ----------
    poll_interval
        Fix the seconds between two looks at the gateway (default: 5).
    deadline
        Seconds to wait for each generation that still runs (default: 0, ask once; with --resubmit as long as
        `generate` waits).
    """
    waiting = Waiting(poll_interval=poll_interval, deadline=deadline)
    for part in (choice, gateway, waiting):
        part.check()
    command = _Command(Output(as_json=common.json, quiet=common.quiet), choice, gateway, waiting, common)
    with named(choice.resubmit or choice.write_off or choice.key):
        if choice.resubmit is not None:
            return command.resubmit(choice.resubmit)
        if choice.list:
            return asyncio.run(command.run())
        return guarded(command.run, choice.key, common, "run `songflow rescue` again", left=_detached)


async def _detached() -> SongflowError:
    """Describe what Ctrl-C leaves behind."""
    return StillRunning(
        "Detached: what was collected is stored, and everything else goes on at the gateway.",
        billed="maybe",
        next="run `songflow rescue` again: it pays for nothing.",
    )


@dataclass(frozen=True)
class _Command:
    output: Output
    choice: Choice
    gateway: Gateway
    waiting: Waiting
    common: Common

    async def run(self) -> int:
        """Everything that spends nothing."""
        if self.choice.adopt or self.choice.write_off:
            self.common.existing_library()
        settings = self.common.library_settings()
        if not settings.exists() and not settings.has_spool():
            self.output.say(f"There is no library at {settings.folder}.")
            self._tell([], stranded=[] if self.choice.list else None)
            return 0
        async with self._session(0.0, reads_only=self.choice.list) as session:
            if self.choice.list:
                self._tell([], stranded=await _stranded_rows(session))
                return 0
            if self.choice.write_off is not None:
                written_off = await domain.write_off(session, self.choice.write_off)
                self._tell([await _row(session, written_off)], written_off=written_off.key)
                return 0
            given = await given_access(self.gateway)
            if self.choice.adopt is not None:
                found = [await domain.adopt(session, self.choice.adopt, key=self.choice.key, given=given)]
            else:
                found = await domain.rescue(session, given)
            self._tell([await _row(session, one) for one in found])
            return domain.exit_code(found)

    def resubmit(self, key: str) -> int:
        """Pay again, after a person's word."""
        if not self.common.library_settings().exists():
            raise InputError(
                f"The ledger does not know the key {key!r}: there is no library.", next="check --library."
            )
        # Its own event loop: while a person thinks, nothing of ours is open or under way.
        key, question = asyncio.run(self._question(key))
        if not self.choice.yes:
            with named(key):
                confirm(question, "Send it again?", "`songflow rescue --list` shows what is open.")
        come_back = f"see `songflow rescue --list`, or run the first command again with --key {key}"
        return guarded(lambda: self._resubmit(key), key, self.common, come_back)

    async def _question(self, key: str) -> tuple[str, str]:
        """The whole key, and the question about it."""
        async with self._session(None, reads_only=True) as session:
            generation, submission = await domain.resubmittable(session, key)
            unit = session.library.settings.unit
        prompt = _start_of(generation.request.prompt)
        return generation.key, (
            f"The request {generation.key} ('{prompt}', {submission.gateway}) is '{submission.state}' and was "
            f"perhaps billed already. Sending it again may cost {amount(submission.price, unit)} a second time."
        )

    async def _resubmit(self, key: str) -> int:
        given = await given_access(self.gateway)
        async with self._session(None) as session:
            result = await domain.resubmit(session, key, given)
            current = leading_submission(await session.library.ledger.submissions.of_key(key))
            assert current is not None, "it was just submitted"
            songs = await session.library.ledger.songs.of_submission(current.id)
            row = await _row(session, Rescued.of(current, songs))
        if self.output.as_json:
            self.output.object({"rescued": [row], **result.as_dict()})
        else:
            self.output.result(result, self.common.library_settings().unit)
        return 0

    def _session(self, deadline: float | None, *, reads_only: bool = False) -> Session:
        wanted = self.waiting.deadline if self.waiting.deadline is not None else deadline
        settings = SessionSettings(poll_interval=self.waiting.poll_interval, deadline=wanted)
        return Session(self.common.library_settings(), settings, resolve, reads_only=reads_only)

    def _tell(
        self, rows: Sequence[Row], *, stranded: Sequence[Row] | None = None, written_off: str | None = None
    ) -> None:
        if self.output.as_json:
            answer: Row = {"rescued": rows}
            if stranded is not None:
                answer["stranded"] = stranded
            if written_off is not None:
                answer["written_off"] = written_off
            self.output.object(answer)
        elif written_off is not None:
            self.output.line(
                f"Written off: {written_off}. If it turns up, `songflow rescue --adopt` still takes it."
            )
        else:
            self._show(rows if stranded is None else stranded, _collected if stranded is None else _listed)

    def _show(self, rows: Sequence[Row], words: Callable[[Row, str], Sequence[str]]) -> None:
        if not rows:
            self.output.line(
                "Nothing is stranded: everything that was paid for is collected, or another process is collecting it."
            )
        for row in rows:
            first, *others = words(row, self.common.library_settings().unit)
            self.output.line(first)
            for song in row["songs"] if words is _collected else ():
                if song["path"]:
                    self.output.file(f"    {song['title'] or song['song_id'] or 'a take'}", song["path"])
            for line in others:
                self.output.line(line)


async def _stranded_rows(session: Session) -> list[Row]:
    rows = []
    for submission in await domain.stranded(session):
        songs = await session.library.ledger.songs.of_submission(submission.id)
        answer = await domain.evidence_of(session, submission)
        row = await _row(session, Rescued.of(submission, songs, answer=answer))
        waits = row["songs"] or RULES[submission.state].waits or submission.state is State.LOST
        row["error"] = submission.error
        row["next"] = "`songflow rescue` asks for it." if waits else unsettled_error(submission).next
        rows.append(row)
    try:
        missing = await session.library.missing_from_ledger()
    except OSError as error:
        log.warning("What only the spool knows is not listed: %s.", error)
        missing = []
    for entry in missing:
        row = await _row(session, Rescued.of_spool(entry, "the ledger is older than its answer."))
        row["next"] = "`songflow rescue` takes it into the ledger, and collects it."
        rows.append(row)
    return rows


async def _row(session: Session, rescued: Rescued) -> Row:
    """One generation with everything known of it, as plain data."""
    generation = await session.library.ledger.submissions.generation(rescued.key)
    row = rescued.as_dict() | {"prompt": _start_of(generation.request.prompt) if generation else None}
    row["not_stored"] = [
        {"song_id": song.song_id, "title": song.title, "error": song.error}
        for song in rescued.songs
        if song.error is not None
    ]
    return row


def _start_of(prompt: str) -> str:
    line = " ".join(prompt.split())
    return line if len(line) <= _PROMPT_LENGTH else f"{line[: _PROMPT_LENGTH - 1]}…"


def _minute(iso: str) -> str:
    """A time of the ledger, which are in UTC, for people."""
    return f"{datetime.fromisoformat(iso):%Y-%m-%d %H:%M} UTC"


def _billed(row: Row) -> str:
    return SIMULATED if bills_nothing(row["gateway"]) else f"billed: {row['billed']}"


def _listed(row: Row, unit: str) -> list[str]:
    asked = f"price {amount(row['price'], unit)}, asked {_minute(row['asked_at'])}"
    lines = [
        f"{row['key']}: {row['state']} ({_billed(row)}), {asked}",
        f"    '{row['prompt'] or 'its prompt is not in the ledger'}'",
        f"    {place_text(row['gateway'], row['base_url'])}, account {row['account']}, "
        f"generation {row['generation_id'] or 'not known'}",
    ]
    lines += [f"    {row['error']}"] if row["error"] else []
    return [*lines, *_missing(row), *_evidence(row), f"    Next: {row['next']}"]


def _collected(row: Row, _unit: str) -> list[str]:
    stored = sum(song["path"] is not None for song in row["songs"])
    about = f"'{row['prompt']}', " if row["prompt"] else ""
    named = f"{row['key']} ({about}{row['gateway']}, generation {row['generation_id'] or 'not known'})"
    if row["error"] is None:
        return [f"+ {named}: {counted(stored, 'song')} stored.", *_missing(row)]
    return [f"- {named}: {row['error']} Next: {row['next']}", *_missing(row), *_evidence(row)]


def _evidence(row: Row) -> list[str]:
    """The gateway's answer to a request in doubt, and the ids in it, for a person to judge."""
    answer = row["answer"]
    if answer is None:
        return []
    # It is the gateway's text: nothing in it may steer a terminal.
    text = one_line(answer["body"], domain.MAX_EVIDENCE)
    shown = text if len(text) <= _ANSWER_LENGTH else f"{text[:_ANSWER_LENGTH]}… (more with --json)"
    lines = [f"    answered HTTP {answer['status']}: {shown or 'nothing'}"]
    if answer["raw"] is not None:
        lines.append("    not all of it is text: --json has its bytes (answer.raw, base64)")
    ids = [shlex.quote(one) for one in answer["candidate_ids"] if one.isprintable()]
    return lines + [f"    perhaps its id: `songflow rescue --adopt {one}`" for one in ids[:_MOST_IDS]]


def _missing(row: Row) -> list[str]:
    return [
        f"    not stored: {song['title'] or song['song_id'] or 'a take'}: {song['error']}"
        for song in row["not_stored"]
    ]
