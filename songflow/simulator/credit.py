"""What an account has left, as each gateway tells it: the credit of the settings less what the bill says."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from songflow.simulator import answers, wire
from songflow.simulator.gateway import Gateway
from songflow.simulator.routes import App
from songflow.simulator.submit import refused_key


def mount_credit(app: App, gateway: Gateway) -> None:
    """Mount the paths of all dialects."""

    def spent() -> float:
        return sum(entry.price for entry in gateway.bill())

    def left() -> float:
        return gateway.settings.credit - spent()

    @app.on("/user/quota", "GET")
    async def quota(request: Request) -> Response:
        refusal = refused_key(gateway, f"Bearer {request.query_params.get('key', '')}")
        if refusal is not None:
            return wire.respond(refusal)
        key = {"name": "default", "remain_quota": -1, "used_quota": spent()}
        told = {"username": "simulated", "total_quota": left(), "total_used_quota": spent()}
        return JSONResponse({**told, "request_count": len(gateway.bill()), "keys": [key]})

    @app.on("/api/v1/chat/credit", "GET")
    @app.on("/api/v1/generate/credit", "GET")
    async def credit(request: Request) -> Response:
        if refused_key(gateway, request.headers.get("authorization")) is not None:
            return JSONResponse({"code": 401, "msg": "You do not have access permissions", "data": None})
        return JSONResponse({"code": 200, "msg": "success", "data": left()})

    @app.on("/account/info", "GET")
    async def info(request: Request) -> Response:
        if refused_key(gateway, f"Bearer {request.headers.get('x-api-key', '')}") is not None:
            return JSONResponse({"code": 401, "message": "Invalid API key", "data": None}, 401)
        told = {"account_name": "simulated", "plan": "developer", "equivalent_in_usd": left()}
        return JSONResponse({"code": 200, "data": told, "message": "success"})

    @app.on("/v1/dashboard/billing/subscription", "GET")
    async def subscription(request: Request) -> Response:
        refusal = refused_key(gateway, request.headers.get("authorization"))
        limit = gateway.settings.credit
        told = {"object": "billing_subscription", "has_payment_method": True, "hard_limit_usd": limit}
        return wire.respond(refusal or answers.as_json(told))

    @app.on("/v1/dashboard/billing/usage", "GET")
    async def usage(request: Request) -> Response:
        refusal = refused_key(gateway, request.headers.get("authorization"))
        return wire.respond(refusal or answers.as_json({"object": "list", "total_usage": spent() * 100}))
