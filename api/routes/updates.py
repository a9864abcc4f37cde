"""The updates of an account as server-sent events."""

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime

import orjson
from aiohttp import web

from api.answer import iso
from api.errors import Rows
from api.route import Call, Route, route
from api.schemas.updates import FollowUser
from duckmail.errors import DuckmailError, NotFound
from duckmail.model.updates import Update
from duckmail.services.updates import Part

_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


async def follow(call: Call, request: FollowUser) -> web.StreamResponse:
    parts = await call.services.updates.follow(request.user, request.last_event_id, call.by, call.caller.digest)
    return web.Response(body=_stream(parts), headers=_HEADERS)


async def _stream(parts: AsyncIterator[Part]) -> AsyncIterator[bytes]:
    idle = 1
    yield b": idling 1\n\n"  # the client learns at once that it is heard
    # When the databases are away this ends, and the client comes back to its position.
    with suppress(DuckmailError):
        async for part in parts:
            if part.updates:
                yield _events(part)
            else:
                idle += 1
                yield f": idling {idle}\n\n".encode()


def _events(part: Part) -> bytes:
    texts = [_data(update) for update in part.updates]
    if part.position:
        # Only the last one: whoever stops ahead of it comes back to the position before.
        texts[-1] = f"id: {part.position}\n{texts[-1]}"
    return "\n".join([*texts, ""]).encode()


def _data(update: Update) -> str:
    fields = {name: iso(value) if isinstance(value, datetime) else value for name, value in update.fields.items()}
    text = orjson.dumps({"command": update.command, **fields}, option=orjson.OPT_INDENT_2).decode()
    return "".join(f"data: {line}\n" for line in text.split("\n"))


_ERRORS: Rows = {NotFound: (404, "UserNotFound")}

ROUTES: tuple[Route, ...] = (
    route("GET", "/users/{user}/updates", FollowUser, follow, errors=_ERRORS, headers=("Last-Event-ID",)),
)
