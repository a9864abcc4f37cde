"""The story of one message, in or out, and of what was not taken. An account sees what is its own."""

from api.answer import Json, iso, without_none
from api.permissions import Permission
from api.route import Call, Route, route
from api.schemas.trace import OneStory
from duckmail.model.trace import TraceEntry, normal_id


async def story(call: Call, request: OneStory) -> Json:
    found = await call.services.tracing.find(request.wanted, request.limit, call.by)
    return {
        "success": True,
        "messageId": normal_id(request.message_id),
        "more": found.more,
        "results": [_row(entry) for entry in found.entries],
    }


def _row(entry: TraceEntry) -> Json:
    return without_none(
        id=entry.id,
        step=entry.step.value,
        time=iso(entry.at),
        user=entry.user or None,
        messageId=entry.message_id or None,
        about=dict(entry.about),
    )


ROUTES: tuple[Route, ...] = (route("GET", "/duckmail/trace", OneStory, story, Permission("trace", "read")),)
