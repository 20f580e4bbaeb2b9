"""The application: all gateways' paths, the four shapes, song files, and the control paths at /_simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from songflow.simulator import ace_step, acedata, answers, files, kie, piapi, suno, wire
from songflow.simulator.credit import mount_credit
from songflow.simulator.dialects import ACE_STEP, ACEDATA, KIE, PIAPI, SUNO
from songflow.simulator.faults import FaultScript
from songflow.simulator.fetch import fetch
from songflow.simulator.gateway import Gateway
from songflow.simulator.replay import Replayer
from songflow.simulator.routes import App
from songflow.simulator.settings import SimulatorSettings
from songflow.simulator.submit import refused_key, submit
from songflow.simulator.suno import read_concat, read_lyrics, read_music


def create_app(settings: SimulatorSettings) -> App:
    """The simulator as an ASGI application; its `Gateway` is at `app.state.gateway`.

    Wire faults (drops, resets, cut answers) need `SimulatorServer` or `serve`, which give access to the socket.
    """
    gateway = Gateway(settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        gateway.open()
        try:
            yield
        finally:
            gateway.close()

    app = App(lifespan=lifespan, exception_handlers={HTTPException: _unknown_path})
    app.state.gateway = gateway
    app.router.redirect_slashes = False
    _mount_controls(app, gateway)
    if settings.replay is not None:
        _mount_replay(app, gateway, Replayer(settings.replay, settings.clip_seconds))
    else:
        _mount_dialects(app, gateway)
        mount_credit(app, gateway)
        _mount_files(app, gateway)

    return app


async def _unknown_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"Invalid URL ({request.method} {request.url.path})"
    return wire.respond(answers.openai_error(error.status_code, message, kind="invalid_request_error"))


def _mount_replay(app: App, gateway: Gateway, replayer: Replayer) -> None:
    @app.on("/suno/fetch", "POST")
    async def batch(_: Request) -> Response:  # a report has the answer for each generation
        raise HTTPException(404)

    @app.on("/{rest:path}", "POST")
    async def post(request: Request) -> Response:
        gateway.traffic.posts += 1
        return await replayer.post(request)

    @app.on("/{rest:path}", "GET", "HEAD")
    async def get(request: Request) -> Response:
        gateway.traffic.fetches += 1
        return await replayer.get(request)


def _mount_dialects(app: App, gateway: Gateway) -> None:
    _mount_submit(app, gateway, "/udio/generate-proxy", "cometapi")
    _mount_submit(app, gateway, "/udio/submit/music", "openai-hk")
    _mount_fetch(app, gateway, "/udio/fetch/{job_id}", "b")

    @app.on("/udio/query", "GET")
    async def query(request: Request) -> Response:
        ids = [wanted.strip() for wanted in request.query_params.get("ids", "").split(",") if wanted.strip()]
        return await fetch(gateway, "a", ids, request)

    @app.on("/suno/submit/music", "POST")
    async def music(request: Request) -> Response:
        return await submit(gateway, SUNO, request, read_music)

    @app.on("/suno/submit/concat", "POST")
    async def concat(request: Request) -> Response:
        return await submit(gateway, SUNO, request, read_concat)

    @app.on("/suno/submit/lyrics", "POST")
    async def lyrics(request: Request) -> Response:
        return await submit(gateway, SUNO, request, read_lyrics)

    _mount_fetch(app, gateway, "/suno/fetch/{job_id}", SUNO)

    @app.on("/suno/fetch", "POST")
    async def batch(request: Request) -> Response:
        return await fetch(gateway, SUNO, suno.batch_ids(await request.body()), request, several=True)

    @app.on("/api/v1/generate", "POST")
    async def generate(request: Request) -> Response:
        return await submit(gateway, KIE, request, kie.read_generate)

    @app.on("/api/v1/generate/extend", "POST")
    async def extend(request: Request) -> Response:
        return await submit(gateway, KIE, request, kie.read_extend)

    @app.on("/api/v1/lyrics", "POST")
    async def kie_lyrics(request: Request) -> Response:
        return await submit(gateway, KIE, request, kie.read_lyrics)

    @app.on("/api/v1/lyrics/record-info", "GET")
    @app.on("/api/v1/generate/record-info", "GET")
    async def record_info(request: Request) -> Response:
        return await fetch(gateway, KIE, [request.query_params.get("taskId", "")], request)

    @app.on("/api/v1/task", "POST")
    async def task(request: Request) -> Response:
        return await submit(gateway, PIAPI, request, piapi.read_task)

    _mount_fetch(app, gateway, "/api/v1/task/{job_id}", PIAPI)

    @app.on("/suno/audios", "POST")
    async def audios(request: Request) -> Response:
        return await submit(gateway, ACEDATA, request, acedata.read_audios)

    @app.on("/suno/tasks", "POST")
    async def tasks(request: Request) -> Response:
        ids, several = acedata.read_tasks(await request.body())
        return await fetch(gateway, ACEDATA, ids, request, several=several)

    @app.on("/release_task", "POST")
    async def release_task(request: Request) -> Response:
        return await submit(gateway, ACE_STEP, request, ace_step.read_release)

    @app.on("/query_result", "POST")
    async def query_result(request: Request) -> Response:
        try:
            ids = ace_step.ids_of(await request.json())
        except ValueError:
            return wire.respond(ace_step.spoken(answers.usual(400)))
        return await fetch(gateway, ACE_STEP, ids, request, several=True)

    for shape in "abcd":
        _mount_submit(app, gateway, f"/shape-{shape}/submit", f"shape-{shape}")
        _mount_fetch(app, gateway, f"/shape-{shape}/fetch/{{job_id}}", shape)


def _mount_submit(app: App, gateway: Gateway, path: str, dialect: str) -> None:
    @app.on(path, "POST")
    async def post(request: Request) -> Response:
        return await submit(gateway, dialect, request)


def _mount_fetch(app: App, gateway: Gateway, path: str, shape: str) -> None:
    @app.on(path, "GET")
    async def get(request: Request) -> Response:
        return await fetch(gateway, shape, [request.path_params["job_id"]], request)


def _mount_files(app: App, gateway: Gateway) -> None:
    @app.on("/files/{rest:path}", "GET", "HEAD")
    async def song_file(request: Request) -> Response:
        return await files.song_file(gateway, request)

    @app.on(ace_step.FILE_PATH, "GET", "HEAD")
    async def audio(request: Request) -> Response:
        refusal = refused_key(gateway, request.headers.get("authorization"))
        if refusal is not None:
            return wire.respond(ace_step.spoken(refusal))
        found = gateway.store.song(ace_step.song_of(request.query_params.get("path", "")))
        return await files.download(gateway, request, found if found and not found[0].fail_reason else None)

    @app.on("/streams/{song_id}.mp3", "GET")
    async def stream(request: Request) -> Response:
        return await files.stream(gateway, request.path_params["song_id"])

    @app.on("/images/{path_hash}/{take:int}/public", "GET")
    async def image(request: Request) -> Response:
        return files.cover(gateway, request.path_params["path_hash"], request.path_params["take"])


def _mount_controls(app: App, gateway: Gateway) -> None:
    @app.on("/_simulator/health", "GET")
    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok", "simulation": True})

    @app.on("/_simulator/bill", "GET")
    async def bill(_: Request) -> Response:
        entries = gateway.bill()
        spent = sum(entry.price for entry in entries)
        listed = [asdict(entry) for entry in entries]
        return JSONResponse({"posts": len(listed), "spent": spent, "entries": listed})

    @app.on("/_simulator/requests", "GET")
    async def requests(_: Request) -> Response:
        return JSONResponse(gateway.traffic.as_json())

    @app.on("/_simulator/faults", "PUT")
    async def faults(request: Request) -> Response:
        try:
            script = FaultScript.model_validate_json(await request.body())
        except ValidationError as error:
            return JSONResponse({"error": str(error)}, 422)
        gateway.play(script)
        return JSONResponse({"rules": len(script.rules)})
