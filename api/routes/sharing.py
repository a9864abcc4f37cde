"""Who else may use a mailbox (RFC 4314): read, set and taken back by its owner, or by a role that acts for it."""

from api.answer import Json
from api.errors import Rows
from api.permissions import Permission
from api.route import Call, Route, route
from api.schemas.mailboxes import OneMailbox
from api.schemas.sharing import OneGrant, PutGrant
from duckmail.errors import Cannot, InvalidInput, LimitReached


async def read(call: Call, request: OneMailbox) -> Json:
    found = await call.services.mailboxes.grants(request.user, request.mailbox, call.by)
    return {"success": True, "results": [{"identifier": each.identifier, "rights": each.rights} for each in found]}


async def put(call: Call, request: PutGrant) -> Json:
    await call.services.mailboxes.grant(request.user, request.mailbox, request.identifier, request.rights, call.by)
    return {"success": True}


async def delete(call: Call, request: OneGrant) -> Json:
    await call.services.mailboxes.grant(request.user, request.mailbox, request.identifier, "", call.by)
    return {"success": True}


_ERRORS: Rows = {
    InvalidInput: (404, "UserNotFound"),
    Cannot: (400, "DisallowedMailboxMethod"),
    LimitReached: (400, "DisallowedMailboxMethod"),
}
_ACL = "/duckmail/users/{user}/mailboxes/{mailbox}/acl"

ROUTES: tuple[Route, ...] = (
    route("GET", _ACL, OneMailbox, read, Permission("mailboxes", "read")),
    route("PUT", _ACL, PutGrant, put, Permission("mailboxes", "update"), errors=_ERRORS),
    route("DELETE", _ACL, OneGrant, delete, Permission("mailboxes", "update"), errors=_ERRORS),
)
