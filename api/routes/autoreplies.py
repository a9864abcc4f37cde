"""Autoreplies: what an account answers by itself."""

from api.answer import Json, iso, without_none
from api.errors import Rows
from api.route import Call, Route, route
from api.schemas.autoreplies import OneAutoreply, UpdateAutoreply
from duckmail.errors import NotFound
from duckmail.model.autoreply import Autoreply


async def read(call: Call, request: OneAutoreply) -> Json:
    return {"success": True, **shown(await call.services.autoreplies.get(request.user, call.by) or Autoreply())}


def shown(autoreply: Autoreply) -> Json:
    return without_none(
        status=autoreply.status,
        name=autoreply.name,
        subject=autoreply.subject,
        text=autoreply.text,
        html=autoreply.html,
        start=iso(autoreply.start) if autoreply.start else None,
        end=iso(autoreply.end) if autoreply.end else None,
        created=iso(autoreply.created) if autoreply.created else None,
    )


async def update(call: Call, request: UpdateAutoreply) -> Json:
    return {"success": True, "id": await call.services.autoreplies.update(request.user, request.changes(), call.by)}


async def delete(call: Call, request: OneAutoreply) -> Json:
    await call.services.autoreplies.delete(request.user, call.by)
    return {"success": True}


_NO_USER: Rows = {NotFound: (404, "UserNotFound")}
_PATH = "/users/{user}/autoreply"

ROUTES: tuple[Route, ...] = (
    route("PUT", _PATH, UpdateAutoreply, update, errors=_NO_USER),
    route("GET", _PATH, OneAutoreply, read, errors=_NO_USER),
    route("DELETE", _PATH, OneAutoreply, delete, errors=_NO_USER),
)
