"""What an account holds of what it may hold: octets, messages and mailboxes; the messages are limited here."""

from api.answer import Json
from api.errors import Rows
from api.permissions import Permission
from api.route import Call, Route, route
from api.schemas.quotas import PutQuota
from api.schemas.users import OneUser
from duckmail.errors import NotFound


async def read(call: Call, request: OneUser) -> Json:
    found = await call.services.quotas.usage(request.user, call.by)
    return {
        "success": True,
        "storage": {"allowed": found.quota.octets, "used": found.octets},
        "messages": {"allowed": found.quota.messages, "used": found.messages},
        "mailboxes": {"allowed": found.most, "used": found.mailboxes},
    }


async def put(call: Call, request: PutQuota) -> Json:
    await call.services.quotas.limit(request.user, request.messages, call.by)
    return {"success": True}


_ERRORS: Rows = {NotFound: (404, "UserNotFound")}
_QUOTA = "/duckmail/users/{user}/quota"

ROUTES: tuple[Route, ...] = (
    route("GET", _QUOTA, OneUser, read, Permission("users", "read"), errors=_ERRORS),
    route("PUT", _QUOTA, PutQuota, put, Permission("users", "update"), errors=_ERRORS),
)
