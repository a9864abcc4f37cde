"""Domain access: domains whose mail accounts with a tag want, or do not want."""

from collections.abc import Awaitable, Callable

from api.answer import Json
from api.errors import Rows
from api.route import Call, Route, route
from api.schemas.domainaccess import ListDomains, OneDomain, PutDomain
from duckmail.errors import NotFound


def _put(action: str) -> Callable[[Call, PutDomain], Awaitable[Json]]:
    async def put(call: Call, request: PutDomain) -> Json:
        made = await call.services.domain_access.put(request.tag, request.domain, action, call.by)
        return {"success": True, "id": made}

    return put


def _list(action: str) -> Callable[[Call, ListDomains], Awaitable[Json]]:
    async def listed(call: Call, request: ListDomains) -> Json:
        found = await call.services.domain_access.list(request.tag, action, call.by)
        results = [{"id": each.id, "domain": each.domain, "action": each.action} for each in found]
        return {"success": True, "results": results}

    return listed


async def delete(call: Call, request: OneDomain) -> Json:
    await call.services.domain_access.delete(request.domain, call.by)
    return {"success": True, "deleted": request.domain}


_ERRORS: Rows = {NotFound: (404, "DomainNotFound")}


ROUTES: tuple[Route, ...] = (
    route("POST", "/domainaccess/{tag}/allow", PutDomain, _put("allow")),
    route("GET", "/domainaccess/{tag}/allow", ListDomains, _list("allow")),
    route("POST", "/domainaccess/{tag}/block", PutDomain, _put("block")),
    route("GET", "/domainaccess/{tag}/block", ListDomains, _list("block")),
    route("DELETE", "/domainaccess/{domain}", OneDomain, delete, errors=_ERRORS),
)
