"""Archived messages: listed and brought back."""

from api.answer import Json
from api.errors import Rows
from api.paging import cursors, position
from api.route import Call, Route, route
from api.rows import row
from api.schemas.archive import ListArchived, RestoreOne, RestoreRange
from duckmail.errors import NotFound


async def list_archived(call: Call, request: ListArchived) -> Json:
    at = position(request)
    page = await call.services.messages.archive.page(
        request.user,
        request.limit,
        call.by,
        ascending=request.order == "asc",
        after=at.after,
        before=at.before,
        headers=bool(request.include_headers),
    )
    return {
        "success": True,
        "total": page.total,
        **cursors(at.page, [each.id for each in page.messages], page.has_previous, page.has_next),
        "results": [
            # UIDs are of mailboxes; and what was expunged for being \Deleted is not marked so when it comes back.
            {**row(each, headers=request.include_headers, attachments=False), "id": each.id, "deleted": False}
            for each in page.messages
        ],
    }


async def restore_one(call: Call, request: RestoreOne) -> Json:
    mailbox, uid = await call.services.messages.archive.restore(request.user, request.message, request.mailbox, call.by)
    return {"success": True, "mailbox": mailbox, "id": uid}


async def restore_range(call: Call, request: RestoreRange) -> Json:
    later = call.services.messages.later
    return {"success": True, "task": await later.restore_range(request.user, request.start, request.end, call.by)}


_NO_USER: Rows = {NotFound: (404, "UserNotFound")}

ROUTES: tuple[Route, ...] = (
    route(
        "GET", "/users/{user}/archived/messages", ListArchived, list_archived,
        errors=_NO_USER,
    ),
    route(
        "POST", "/users/{user}/archived/restore", RestoreRange, restore_range,
        errors=_NO_USER,
    ),
    route(
        "POST",
        "/users/{user}/archived/messages/{message}/restore",
        RestoreOne,
        restore_one,
    ),
)  # fmt: skip
