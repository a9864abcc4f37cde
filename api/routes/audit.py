"""Audits: what an account has and gets is copied, for a role that root does not have."""

from aiohttp import web

from api.answer import Json, iso
from api.errors import Rows
from api.permissions import Permission, Reach
from api.route import Call, Route, route
from api.schemas.audit import CreateAudit, DeleteAudit, OneAudit
from duckmail.errors import NotFound

# A browser must neither guess a type for what strangers wrote, nor run it as ours.
_HEADERS = {
    "Content-Type": "application/octet-stream",
    "Content-Disposition": "attachment; filename=export.mbox",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
}


async def create(call: Call, request: CreateAudit) -> Json:
    audit = await call.services.audits.create(request.user, request.start, request.end, request.expires, call.by)
    return {"success": True, "id": audit}


async def read(call: Call, request: OneAudit) -> Json:
    audit = await call.services.audits.get(request.audit, call.by)
    return {
        "success": True,
        "id": audit.id,
        "user": audit.user,
        "start": iso(audit.start) if audit.start else False,
        "end": iso(audit.end) if audit.end else False,
        "expires": iso(audit.expires),
        "import": {"status": audit.status, "failed": audit.failed, "copied": audit.copied},
    }


async def export(call: Call, request: OneAudit) -> web.StreamResponse:
    return web.Response(body=await call.services.audits.export(request.audit, call.by), headers=_HEADERS)


async def delete(call: Call, request: DeleteAudit) -> Json:
    await call.services.audits.delete(request.audit, call.by)
    return {"success": True}


_NOT_FOUND: Rows = {NotFound: (404, "AuditNotFoundError")}

ROUTES: tuple[Route, ...] = (
    route("POST", "/audit", CreateAudit, create),
    route("GET", "/audit/{audit}", OneAudit, read, errors=_NOT_FOUND),
    route(
        "GET",
        "/audit/{audit}/export.mbox",
        OneAudit,
        export,
        errors=_NOT_FOUND,
    ),
    route(
        "DELETE",
        "/duckmail/audit/{audit}",
        DeleteAudit,
        delete,
        Permission("audit", "delete", Reach.ANY),
        errors=_NOT_FOUND,
    ),
)
