"""The authlog: what was tried and changed with the credentials of an account."""

from api.answer import Json, iso
from api.errors import Rows
from api.paging import cursors, position
from api.route import Call, Route, route
from api.schemas.authlog import ListEvents, OneEvent
from duckmail.errors import NotFound
from duckmail.model.credentials import AuthEvent

# What an entry may tell beside what each has; null where it does not.
_ABOUT = ("requiredScope", "source", "asp", "aname", "temporary", "require2fa", "target", "filter", "credential")


def _row(event: AuthEvent) -> Json:
    return {
        "id": event.id,
        "key": event.key,
        "action": event.action,
        "result": event.result or None,
        "sess": event.trace.sess or None,
        "ip": event.trace.ip or None,
        "appId": event.trace.app or None,
        "created": iso(event.created),
        "protocol": event.protocol or None,
        **{name: event.about.get(name) for name in _ABOUT},
        "last": iso(event.last),
        "events": event.events,
        "expires": iso(event.expires),
    }


async def list_events(call: Call, request: ListEvents) -> Json:
    at = position(request)
    page = await call.services.authlog.list(
        request.user,
        call.by,
        request.limit,
        action=request.action,
        ip=request.filterip,
        after=at.after,
        before=at.before,
    )
    return {
        "success": True,
        "action": request.action,
        "total": page.total,
        **cursors(at.page, [event.id for event in page.events], page.has_previous, page.has_next),
        "results": [_row(event) for event in page.events],
    }


async def read(call: Call, request: OneEvent) -> Json:
    await call.services.users.get(request.user, call.by)
    return {"success": True, **_row(await call.services.authlog.get(request.user, request.event, call.by))}


_NO_USER: Rows = {NotFound: (404, "UserNotFound")}

ROUTES: tuple[Route, ...] = (
    route("GET", "/users/{user}/authlog", ListEvents, list_events, errors=_NO_USER),
    route(
        "GET",
        "/users/{user}/authlog/{event}",
        OneEvent,
        read,
        errors={NotFound: (404, "EventNotFound")},
    ),
)
