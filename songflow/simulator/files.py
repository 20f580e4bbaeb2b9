"""Song files over HTTP: Range requests, exact paths, no keys allowed; and broken downloads."""

from __future__ import annotations

import asyncio
import random
import re
import struct
import zlib
from dataclasses import dataclass, replace
from hashlib import sha256
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response

from songflow.simulator import answers, odd_files, songs, wire
from songflow.simulator.answers import Answer
from songflow.simulator.faults import FaultRule
from songflow.simulator.gateway import Gateway, Traffic
from songflow.simulator.jobs import Job
from songflow.simulator.submit import scripted

_RANGE = re.compile(r"^bytes=(\d*)-(\d*)$")
_COVER_SIDE = 256


async def song_file(gateway: Gateway, request: Request) -> Response:
    """Answer GET or HEAD of a song file by its published path, without any key."""
    gateway.traffic.download_authorizations += "authorization" in request.headers
    return await download(gateway, request, find(gateway, request.scope.get("raw_path", b"")))


async def download(gateway: Gateway, request: Request, found: tuple[Job, int] | None) -> Response:
    """Answer GET or HEAD of the file of a song (a job and a take)."""
    traffic = gateway.traffic
    traffic.downloads += 1
    if found is None:
        traffic.download_answers["404"] += 1
        return wire.respond(answers.html_page(404, "NoSuchKey"))
    job, take = found
    data = await _content(gateway, job, take)
    subject = "\n".join((job.prompt, job.generation_id, job.song_ids[take - 1], request.url.query))
    rule = gateway.faults.for_request("download", subject)
    response = await _serve(request, data, rule, traffic)
    broken = isinstance(response, wire.WireResponse)
    traffic.download_answers[rule.fault if rule and broken else str(response.status_code)] += 1
    return response


async def stream(gateway: Gateway, song_id: str) -> Response:
    """Answer GET of a clip that is still being made: the part of its file that is there."""
    traffic, found = gateway.traffic, gateway.store.song(song_id)
    traffic.downloads += 1
    traffic.download_answers["404" if found is None else "stream"] += 1
    if found is None:
        return wire.respond(answers.html_page(404, "NoSuchKey"))
    data = await _content(gateway, *found)
    return Response(data[: len(data) // 2], media_type="audio/mpeg")


def find(gateway: Gateway, raw_path: bytes) -> tuple[Job, int] | None:
    """The song of a path as received; None unless the path is exactly the published one."""
    path = raw_path.decode("latin-1")
    parts = path.split("/")
    if len(parts) != 5 or not parts[3].isdecimal():
        return None
    job = gateway.store.by_hash(parts[2][:32])
    take = int(parts[3])
    if job is None or job.fail_reason or not 1 <= take <= job.takes:
        return None
    title = unquote(unquote(parts[4])).removesuffix(".mp3")
    return (job, take) if songs.file_path(job, take, title) == path else None


async def _content(gateway: Gateway, job: Job, take: int) -> bytes:
    path = await asyncio.wrap_future(gateway.renders.future(job, take))
    try:
        return await asyncio.to_thread(path.read_bytes)
    except FileNotFoundError:
        gateway.renders.forget(path)
        path = await asyncio.wrap_future(gateway.renders.future(job, take))
        return await asyncio.to_thread(path.read_bytes)


@dataclass(frozen=True)
class ByteRange:
    """The first byte of the file, and the one after the last."""

    start: int
    stop: int


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Parse one `bytes=` range; None without a usable header. Raises ValueError if it is outside the file."""
    match = _RANGE.match(header or "")
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1 if last else size)
    if start >= size or stop <= start:
        raise ValueError(f"range {header} lies outside of {size} bytes")
    return ByteRange(start, stop)


def ranged(data: bytes, range_header: str | None, if_range: str | None = None) -> Answer:
    """Answer with 200, 206 or 416 from a whole file in memory."""
    etag = f'"{sha256(data).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": "public, max-age=3600"}
    if if_range is not None and if_range != etag:
        range_header = None
    try:
        part = parse_range(range_header, len(data))
    except ValueError:
        return Answer(416, b"", answers.TEXT_TYPE, {**headers, "Content-Range": f"bytes */{len(data)}"})
    if part is None:
        return Answer(200, data, "audio/mpeg", headers)
    span = f"bytes {part.start}-{part.stop - 1}/{len(data)}"
    return Answer(206, data[part.start : part.stop], "audio/mpeg", {**headers, "Content-Range": span})


async def _serve(request: Request, data: bytes, rule: FaultRule | None, traffic: Traffic) -> Response:
    header, if_range = request.headers.get("range"), request.headers.get("if-range")
    if rule is None:
        return wire.respond(ranged(data, header, if_range))
    if rule.fault == "no_range":
        return wire.respond(Answer(200, data, "audio/mpeg"))
    if rule.fault == "corrupt":
        data = random.Random(traffic.downloads).randbytes(len(data))  # others each time
    if rule.fault == "odd_file":
        content_type, data = odd_files.reshaped(data, rule.form or "large_tag")
        return wire.respond(replace(ranged(data, header, if_range), content_type=content_type))
    answer = ranged(data, header, if_range)
    if rule.fault == "encoded":
        return wire.respond(odd_files.encoded(answer, rule.encoding, rule.coding))
    if rule.fault == "slow":
        await asyncio.sleep(5.0 if rule.seconds is None else rule.seconds)
    if rule.fault in ("corrupt", "slow"):
        return wire.respond(answer)
    return _other_page(request, rule) or _break(rule, answer)


def _other_page(request: Request, rule: FaultRule) -> Response | None:
    """Answer with something other than the file."""
    match rule.fault:
        case "status":
            return wire.respond(scripted(rule))
        case "dead":
            return wire.respond(answers.html_page(rule.status or 404, "NoSuchKey"))
        case "html_200":
            return wire.respond(answers.html_page(200, "Please log in"))
        case "page":
            return wire.respond(_page(rule.form or "html", rule.status or 200))
        case "redirect":
            raw_path = request.scope["raw_path"].decode("latin-1")
            location = rule.location or f"{str(request.base_url).rstrip('/')}{raw_path}?moved=1"
            return wire.respond(Answer(rule.status or 302, b"", answers.TEXT_TYPE, {"Location": location}))
    return None


def _page(form: str, status: int) -> Answer:
    """What hosts and storages send in place of a song."""
    match form:
        case "json":
            return answers.as_json({"error": "token expired"}, status)
        case "xml":
            xml = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>ExpiredToken</Code></Error>'
            return Answer(status, xml, "application/xml")
        case "empty":
            return answers.empty(status)
    return answers.html_page(status, "Please log in")


def _break(rule: FaultRule, answer: Answer) -> Response:
    """Deliver the file badly. `bytes`: how many arrive, or the error of the announced length."""
    size = len(answer.body)
    half = size // 2 if rule.size is None else rule.size
    match rule.fault:
        case "truncated":
            plan = wire.Plan(send=half)
        case "wrong_length":
            claim = max(0, size + (-1000 if rule.size is None else rule.size))
            plan = wire.Plan(claim=claim, send=min(claim, size))
        case "whole_as":
            span = f"bytes 0-{size - 1}/{size}"
            headers = {"Content-Range": span} if rule.status == 206 else {}
            return wire.respond(replace(answer, status=rule.status or 206).with_headers(headers))
        case "reset_before":
            return wire.WireResponse(None, wire.Plan(end="reset"))
        case "reset_during":
            plan = wire.Plan(send=half, end="reset")
        case _:
            return wire.drip(answer, 5.0 if rule.seconds is None else rule.seconds, rule.size)
    return wire.WireResponse(answer, plan)


def cover(gateway: Gateway, path_hash: str, take: int) -> Response:
    """A cover: a PNG with a gradient in colours derived from the song."""
    gateway.traffic.images += 1
    job = gateway.store.by_hash(path_hash)
    if job is None or not 1 <= take <= job.takes:
        return wire.respond(answers.html_page(404, "NoSuchKey"))
    return wire.respond(Answer(200, gradient_png(f"{path_hash}/{take}"), "image/png"))


def gradient_png(seed: str) -> bytes:
    """Encode a square PNG of 256 x 256 pixels without an imaging library."""
    colours = sha256(seed.encode()).digest()
    low, high = colours[:3], colours[3:6]
    rows = bytearray()
    for y in range(_COVER_SIDE):
        pixel = bytes(a + (b - a) * y // (_COVER_SIDE - 1) for a, b in zip(low, high, strict=True))
        rows += b"\0" + pixel * _COVER_SIDE
    header = struct.pack(">IIBBBBB", _COVER_SIDE, _COVER_SIDE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b""))
    packed = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)
