"""Mail on its way out: listed, held back, let go, tried now, taken out. For who runs the server."""

from datetime import datetime

from api.answer import Json, iso
from api.errors import Rows
from api.paging import forwards, position
from api.permissions import Permission, Reach
from api.route import Call, Route, route
from api.schemas.queue import HoldQueued, ListQueue, OneQueued, RemoveQueued
from duckmail.errors import InUse, NotFound
from duckmail.model.queue import QueuedMessage


async def list_queue(call: Call, request: ListQueue) -> Json:
    at = position(request)
    found = await call.services.queue.page(request.limit + 1, call.by, at.after, ended=request.ended)
    return forwards(request.limit, at, found, _row)


async def read(call: Call, request: OneQueued) -> Json:
    return {"success": True, **_row(await call.services.queue.get(request.message, call.by))}


async def hold(call: Call, request: HoldQueued) -> Json:
    await call.services.queue.hold(request.message, call.by, held=request.held)
    return {"success": True}


async def retry(call: Call, request: OneQueued) -> Json:
    return {"success": True, "due": await call.services.queue.retry(request.message, call.by)}


async def remove(call: Call, request: RemoveQueued) -> Json:
    await call.services.queue.remove(request.message, call.by, notify=request.notify)
    return {"success": True}


def _row(message: QueuedMessage) -> Json:
    """Who it is from and for, and what came of it; nothing of what it says."""
    return {
        "id": message.id,
        "user": message.user or False,
        "origin": message.origin.value,
        "sender": message.envelope.sender,
        "size": message.size,
        "created": iso(message.created),
        "ended": _moment(message.ended),
        "held": message.held,
        "sending": bool(message.runner),
        "recipients": [
            {
                "address": each.address,
                "state": each.state.value,
                "status": each.status,
                "attempts": each.attempts,
                "reply": each.reply,
                "host": each.host,
                "tried": _moment(each.tried),
                "due": _moment(each.due),
            }
            for each in message.recipients
        ],
    }


def _moment(moment: datetime | None) -> str | bool:
    return iso(moment) if moment is not None else False


_ERRORS: Rows = {NotFound: (404, "QueuedMessageNotFound"), InUse: (409, "MessageBeingSent")}


def _may(action: str) -> Permission:
    return Permission("queue", action, Reach.ANY)


_ONE = "/duckmail/queue/{message}"
ROUTES: tuple[Route, ...] = (
    route("GET", "/duckmail/queue", ListQueue, list_queue, _may("read"), errors=_ERRORS),
    route("GET", _ONE, OneQueued, read, _may("read"), errors=_ERRORS),
    route("PUT", _ONE, HoldQueued, hold, _may("update"), errors=_ERRORS),
    route("POST", f"{_ONE}/retry", OneQueued, retry, _may("update"), errors=_ERRORS),
    route("DELETE", _ONE, RemoveQueued, remove, _may("delete"), errors=_ERRORS),
)
