"""The FastAPI application: both gateways' paths, the four shapes, song files, and the control paths at /_simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

from fastapi import FastAPI
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from songflow.simulator import answers, files, kie, wire
from songflow.simulator.faults import FaultScript
from songflow.simulator.fetch import KIE, SUNO, fetch
from songflow.simulator.gateway import Gateway
from songflow.simulator.replay import Replayer
from songflow.simulator.settings import SimulatorSettings
from songflow.simulator.submit import submit
from songflow.simulator.suno import read_music


def create_app(settings: SimulatorSettings) -> FastAPI:
    """The simulator as an ASGI application; its `Gateway` is at `app.state.gateway`.

    Wire faults (drops, resets, cut answers) need `SimulatorServer` or `serve`, which give access to the socket.
    """
    gateway = Gateway(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        gateway.open()
        try:
            yield
        finally:
            gateway.close()

    app = FastAPI(
        title="Songflow's simulated gateway",
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.state.gateway = gateway
    app.router.redirect_slashes = False
    _mount_controls(app, gateway)
    if settings.replay is not None:
        _mount_replay(app, gateway, Replayer(settings.replay, settings.clip_seconds))
    else:
        _mount_dialects(app, gateway)
        _mount_files(app, gateway)

    @app.exception_handler(HTTPException)
    async def unknown_path(request: Request, error: HTTPException) -> Response:
        message = f"Invalid URL ({request.method} {request.url.path})"
        return wire.respond(answers.openai_error(error.status_code, message, kind="invalid_request_error"))

    return app


def _mount_replay(app: FastAPI, gateway: Gateway, replayer: Replayer) -> None:
    @app.post("/{rest:path}", response_model=None)
    async def post(request: Request) -> Response:
        gateway.traffic.posts += 1
        return await replayer.post(request)

    @app.api_route("/{rest:path}", methods=["GET", "HEAD"], response_model=None)
    async def get(request: Request) -> Response:
        gateway.traffic.fetches += 1
        return await replayer.get(request)


def _mount_dialects(app: FastAPI, gateway: Gateway) -> None:
    _mount_submit(app, gateway, "/udio/generate-proxy", "cometapi")
    _mount_submit(app, gateway, "/udio/submit/music", "openai-hk")
    _mount_fetch(app, gateway, "/udio/fetch/{job_id}", "b")

    @app.get("/udio/query", response_model=None)
    async def query(request: Request) -> Response:
        ids = [wanted.strip() for wanted in request.query_params.get("ids", "").split(",") if wanted.strip()]
        return await fetch(gateway, "a", ids, request)

    @app.post("/suno/submit/music", response_model=None)
    async def music(request: Request) -> Response:
        return await submit(gateway, SUNO, request, read_music)

    _mount_fetch(app, gateway, "/suno/fetch/{job_id}", SUNO)

    @app.post("/api/v1/generate", response_model=None)
    async def generate(request: Request) -> Response:
        return await submit(gateway, KIE, request, kie.read_generate, kie.spoken)

    @app.post("/api/v1/generate/extend", response_model=None)
    async def extend(request: Request) -> Response:
        return await submit(gateway, KIE, request, kie.read_extend, kie.spoken)

    @app.get("/api/v1/generate/record-info", response_model=None)
    async def record_info(request: Request) -> Response:
        return await fetch(gateway, KIE, [request.query_params.get("taskId", "")], request)

    for shape in "abcd":
        _mount_submit(app, gateway, f"/shape-{shape}/submit", f"shape-{shape}")
        _mount_fetch(app, gateway, f"/shape-{shape}/fetch/{{job_id}}", shape)


def _mount_submit(app: FastAPI, gateway: Gateway, path: str, dialect: str) -> None:
    @app.post(path, response_model=None)
    async def post(request: Request) -> Response:
        return await submit(gateway, dialect, request)


def _mount_fetch(app: FastAPI, gateway: Gateway, path: str, shape: str) -> None:
    @app.get(path, response_model=None)
    async def get(request: Request, job_id: str) -> Response:
        return await fetch(gateway, shape, [job_id], request)


def _mount_files(app: FastAPI, gateway: Gateway) -> None:
    @app.api_route("/files/{rest:path}", methods=["GET", "HEAD"], response_model=None)
    async def song_file(request: Request) -> Response:
        return await files.download(gateway, request)

    @app.get("/streams/{song_id}.mp3", response_model=None)
    async def stream(song_id: str) -> Response:
        return await files.stream(gateway, song_id)

    @app.get("/images/{path_hash}/{take}/public", response_model=None)
    async def image(path_hash: str, take: int) -> Response:
        return files.cover(gateway, path_hash, take)


def _mount_controls(app: FastAPI, gateway: Gateway) -> None:
    @app.get("/_simulator/health", response_model=None)
    async def health() -> Response:
        return JSONResponse({"status": "ok", "simulation": True})

    @app.get("/_simulator/bill", response_model=None)
    async def bill() -> Response:
        entries = gateway.bill()
        spent = sum(entry.price for entry in entries)
        listed = [asdict(entry) for entry in entries]
        return JSONResponse({"posts": len(listed), "spent": spent, "entries": listed})

    @app.get("/_simulator/requests", response_model=None)
    async def requests() -> Response:
        return JSONResponse(gateway.traffic.as_json())

    @app.put("/_simulator/faults", response_model=None)
    async def faults(request: Request) -> Response:
        try:
            script = FaultScript.model_validate_json(await request.body())
        except ValidationError as error:
            return JSONResponse({"error": str(error)}, 422)
        gateway.play(script)
        return JSONResponse({"rules": len(script.rules)})
