"""Fetches: a generation in the gateway's shape, changed by the fault script."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from songflow.simulator import answers, odd_files, songs, wire
from songflow.simulator.answers import Answer, Report, Speak, as_the_relay
from songflow.simulator.dialects import DIALECTS
from songflow.simulator.faults import FaultRule, Hit
from songflow.simulator.gateway import Gateway
from songflow.simulator.jobs import Job
from songflow.simulator.submit import authorization_of, refused_key, scripted
from songflow.simulator.timing import Moment


async def fetch(
    gateway: Gateway, shape: str, ids: list[str], request: Request, *, several: bool = False
) -> Response:
    """Answer one fetch. Shape a takes several ids, of generations or songs; most others take one generation.

    Args:
        shape: The relay's shape of Udio's songs (a to d), or the name of another dialect.
        several: The fetch is one for several generations, even if it names one.
    """
    traffic = gateway.traffic
    traffic.fetches += 1
    speak = _speech(shape)
    refusal = refused_key(gateway, authorization_of(request, shape))
    if refusal is not None:
        traffic.fetch_answers[str(refusal.status)] += 1
        return wire.respond(speak(refusal))
    jobs = {job.generation_id: job for wanted in ids if (job := _job_of(gateway, shape, wanted)) is not None}
    prompts = [job.prompt for job in jobs.values()]
    subject = "\n".join((*ids, *jobs, *prompts))
    whole = gateway.faults.for_request("batch", subject) if len(jobs) > 1 else None
    if whole is not None and whole.fault == "first_only":
        ids, whole = ids[: whole.take], None
    whole = whole or gateway.faults.for_request("fetch", subject)
    response = await _whole_answer(whole, speak) if whole is not None else None
    if response is None:
        base_url = str(request.base_url).rstrip("/")
        reports = {job_id: _report(gateway, shape, job, base_url) for job_id, job in jobs.items()}
        together = DIALECTS[shape].report_all if several else None
        if together is not None:
            bodies = {job_id: job.body for job_id, job in jobs.items()}
            answer = together(ids, reports, bodies, base_url)
        else:
            answer = _shaped(gateway, shape, ids, reports, base_url)
        if whole is not None and whole.fault == "encoded":
            answer = odd_files.encoded(answer, whole.encoding, whole.coding)
        response = wire.respond(answer)
    broken = whole is not None and isinstance(response, wire.WireResponse)
    traffic.fetch_answers[whole.fault if whole and broken else str(response.status_code)] += 1
    return response


def _speech(shape: str) -> Speak:
    return DIALECTS[shape].speak if shape in DIALECTS else as_the_relay


def _job_of(gateway: Gateway, shape: str, wanted: str) -> Job | None:
    job = gateway.store.job(wanted)
    if job is not None and job.dialect != shape and DIALECTS.keys() & {job.dialect, shape}:
        return None
    if job is None and shape == "a" and (found := gateway.store.song(wanted)) is not None:
        return found[0]
    return job


async def _whole_answer(rule: FaultRule, speak: Speak) -> Response | None:
    """Play a fault that does not depend on the generation. None: answer as usual (perhaps late)."""
    match rule.fault:
        case "status":
            answer = scripted(rule)
        case "html":
            answer = answers.html_page(rule.status or 502)
        case "empty":
            answer = answers.empty(rule.status or 200)
        case "null_data":
            answer = answers.as_json({"code": "success", "message": "", "data": None})
        case "fail_to_fetch_task":
            answer = answers.relay_error(
                rule.status or 401, "fail_to_fetch_task", "upstream refused the query"
            )
        case "not_visible_yet":
            answer = answers.task_not_exist()
        case "reset":
            return wire.WireResponse(None, wire.Plan(end="reset"))
        case "encoded":
            return None
        case _:
            await asyncio.sleep(5.0 if rule.seconds is None else rule.seconds)
            return None
    return wire.respond(speak(answer))


def _shaped(
    gateway: Gateway, shape: str, ids: list[str], reports: dict[str, Report | None], base_url: str
) -> Answer:
    if shape != "a":
        report, job = reports.get(ids[0]), _job_of(gateway, shape, ids[0])
        if report is None or job is None:
            return _speech(shape)(answers.task_not_exist())
        if shape in DIALECTS:
            return DIALECTS[shape].report(report, job.body, base_url)
        return answers.envelope(shape, report)
    listed: list[dict[str, Any]] = []
    for wanted in ids:
        job = _job_of(gateway, shape, wanted)
        report = reports.get(job.generation_id) if job else None
        for song in (report.songs if report else None) or []:
            if song not in listed and wanted in (song["generation_id"], song["id"]):
                listed.append(song)
    return answers.bare_songs(listed)


def _report(gateway: Gateway, shape: str, job: Job, base_url: str) -> Report | None:
    """A generation's report after all faults that apply to it; None if they hide it."""
    moment = gateway.moment(job)
    report: Report | None = _plain(gateway, shape, job, moment, base_url)
    subject = "\n".join((job.prompt, job.generation_id, *job.song_ids))
    for hit in gateway.faults.for_job("fetch", subject, job.generation_id):
        if report is not None:
            report = _bend(hit, job, moment, report, base_url)
    return report


def _plain(gateway: Gateway, shape: str, job: Job, moment: Moment, base_url: str) -> Report:
    ready = moment.due and not job.fail_reason and gateway.renders.ready(job)
    status, progress = moment.status, moment.progress
    if job.fail_reason and moment.due:
        status, progress = "FAILURE", "100%"
    elif ready:
        status, progress = "SUCCESS", "100%"
    ended = progress == "100%"
    # Envelopes contain no songs before the end; the bare shape has nothing else to show, and clips are streamed.
    early = DIALECTS[shape].shows_unfinished if shape in DIALECTS else shape == "a"
    shown = ready or (early and status not in ("NOT_START", "SUBMITTED"))
    skew = gateway.settings.time_skew_seconds
    return Report(
        task_id=job.generation_id,
        status=status,
        progress=progress,
        submit_time=int(job.submitted_at + skew),
        start_time=int(moment.started_at + skew) if status in ("IN_PROGRESS", "SUCCESS", "FAILURE") else 0,
        finish_time=int(moment.finishes_at + skew) if ended else 0,
        fail_reason=job.fail_reason if ended else "",
        songs=_songs(gateway, job, ready, base_url) if shown else None,
    )


def _songs(gateway: Gateway, job: Job, ready: bool, base_url: str) -> list[dict[str, Any]]:
    seconds = gateway.store.seconds(job)
    listed = [
        songs.song_object(songs.Take(job, take, songs.title_of(job, take), seconds, ready), base_url)
        for take in range(1, job.takes + 1)
    ]
    if job.fail_reason and gateway.moment(job).due:
        return [songs.failed(song, "MODERATION", job.fail_reason) for song in listed]
    return listed


def _bend(hit: Hit, job: Job, moment: Moment, report: Report, base_url: str) -> Report | None:
    """Apply one fault to the report."""
    rule = hit.rule
    match rule.fault:
        case "not_visible_yet":
            hidden = moment.elapsed < (rule.seconds or 0) or hit.visit <= (rule.fetches or 0)
            return None if hidden else report
        case "vanishes":
            fetched_out = rule.seconds is None and hit.visit > _or(rule.fetches, 1)
            timed_out = rule.seconds is not None and moment.elapsed >= rule.seconds
            return None if fetched_out or timed_out else report
        case "unknown_for_ever":
            return replace(report, status="UNKNOWN", progress="", finish_time=0, songs=None)
        case "status_word":
            return replace(report, status=rule.word or "PENDING_REVIEW", songs=_unfinished(report.songs))
        case "backwards":
            return _backwards(hit, report)
        case "other_form":
            return replace(report, other_form=True)
        case "failure" | "failure_with_song" if moment.due:
            return _failure(rule, report)
    return _bend_songs(hit, job, moment, report, base_url) if report.status == "SUCCESS" else report


def _bend_songs(hit: Hit, job: Job, moment: Moment, report: Report, base_url: str) -> Report:
    """Apply a fault that only affects finished songs."""
    rule = hit.rule
    listed = report.songs or []
    match rule.fault:
        case "success_no_songs" if rule.seconds is None or moment.after_finish < rule.seconds:
            return replace(report, songs=[])
        case "songs_before_success" if rule.seconds is None or moment.after_finish < rule.seconds:
            return replace(report, status="IN_PROGRESS", progress="99%", finish_time=0)
        case "one_take_fails":
            bad = rule.take - 1
            return replace(
                report,
                songs=[
                    songs.failed(song, rule.error_type, rule.error_detail) if index == bad else song
                    for index, song in enumerate(listed)
                ],
            )
        case "all_takes_fail":
            failed = [songs.failed(song, rule.error_type, rule.error_detail) for song in listed]
            return replace(report, status=rule.word or "SUCCESS", songs=failed)
        case "one_take_only":
            return replace(report, songs=listed[:1])
        case "late_take" if moment.after_finish < (30.0 if rule.seconds is None else rule.seconds):
            rest = _unfinished(listed[1:]) or []
            return replace(report, songs=listed[:1] + (rest if rule.listed else []))
        case "duplicate_song_ids":
            return replace(report, songs=[{**song, "id": listed[0]["id"]} for song in listed])
        case "hostile_titles":
            return replace(report, songs=_retitled(hit, job, listed, base_url))
        case "odd_address":
            return replace(report, songs=[_readdressed(song, rule.form) for song in listed])
        case "fresh_addresses":
            given = hit.memory["given"] = hit.memory.get("given", 0) + 1
            fresh = [_with_path(song, f"{song['song_path']}?given={given}") for song in listed]
            return replace(report, songs=fresh)
        case "unfinished":
            return replace(report, songs=[{**song, "finished": False} for song in listed])
        case "announced":
            fields = {"duration": rule.seconds, "tags": rule.text}
            told = {name: value for name, value in fields.items() if value is not None}
            return replace(report, songs=[{**song, **told} for song in listed])
    return report


def _with_path(song: dict[str, Any], path: str) -> dict[str, Any]:
    return {**song, "song_path": path}


def _readdressed(song: dict[str, Any], form: str | None) -> dict[str, Any]:
    """A song whose address needs reading: white space around it, or only a part of it."""
    path = str(song["song_path"])
    _, _, rest = path.partition("://")
    forms = {
        "newline": f"{path}\n",
        "bom": f"\ufeff{path}",
        "no_scheme": f"//{rest}",
        "path": f"/{rest.partition('/')[2]}",
    }
    return _with_path(song, forms.get(form or "", f"  {path}\t"))


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _unfinished(listed: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    if listed is None:
        return None
    return [{**song, "finished": False, "song_path": None} for song in listed]


def _backwards(hit: Hit, report: Report) -> Report:
    """After IN_PROGRESS was reported once, report QUEUED again for some fetches (default one)."""
    if report.status == "IN_PROGRESS" and not hit.memory.get("shown"):
        hit.memory["shown"] = True
        return report
    if hit.memory.get("shown") and hit.memory.get("back", 0) < _or(hit.rule.fetches, 1):
        hit.memory["back"] = hit.memory.get("back", 0) + 1
        return replace(
            report,
            status="QUEUED",
            progress="0%",
            start_time=0,
            finish_time=0,
            songs=_unfinished(report.songs),
        )
    return report


def _failure(rule: FaultRule, report: Report) -> Report:
    """FAILURE; for `failure_with_song`, with one finished song in it."""
    reason = rule.fail_reason or "upstream generation failed (simulated)"
    listed = report.songs or []
    bad = [songs.failed(song, "GENERATION_ERROR", reason) for song in listed]
    if rule.fault == "failure_with_song" and report.status == "SUCCESS":
        bad = listed[:1] + bad[1:]
    elif rule.fault == "failure_with_song":
        return report  # the song is still being rendered
    return replace(report, status="FAILURE", progress="100%", fail_reason=reason, songs=bad)


def _retitled(hit: Hit, job: Job, listed: list[dict[str, Any]], base_url: str) -> list[dict[str, Any]]:
    """Replace titles by those of the list, in turn over takes and generations."""
    titles = hit.rule.titles or songs.HOSTILE_TITLES
    first = hit.ordinal * job.takes
    retitled = []
    for index, song in enumerate(listed):
        title = titles[(first + index) % len(titles)]
        path = base_url + songs.file_path(job, index + 1, title)
        retitled.append({**song, "title": title, "song_path": path})
    return retitled
