"""Health: whether the databases do what is asked of them."""

from aiohttp import web

from api.answer import Json, json_response
from api.route import Call, Route, route
from api.schemas.base import Nothing


async def health(call: Call, _: Nothing) -> Json | web.StreamResponse:
    problem = await call.services.health.problem()
    if problem:
        return json_response({"success": False, "message": problem}, 500)
    return {"success": True}


ROUTES: tuple[Route, ...] = (route("GET", "/health", Nothing, health),)
