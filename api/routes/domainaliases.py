"""Domain aliases: domains that stand for other domains."""

from api.answer import Json, iso, without_none
from api.errors import Rows
from api.paging import text_cursors, text_position
from api.route import Call, Route, route
from api.schemas.domainaliases import CreateAlias, ListAliases, OneAlias, ResolveAlias
from duckmail.errors import AlreadyExists, NotFound


async def list_aliases(call: Call, request: ListAliases) -> Json:
    at = text_position(request)
    page = await call.services.domain_aliases.list(request.query, request.limit, call.by, at.after, at.before)
    rows = [(alias.alias, alias.id) for alias in page.aliases]
    return {
        "success": True,
        **({"query": request.query} if "query" in request.model_fields_set else {}),
        "total": page.total,
        **text_cursors(at.page, rows, page.has_previous, page.has_next),
        "results": [{"id": alias.id, "alias": alias.alias, "domain": alias.domain} for alias in page.aliases],
    }


async def create(call: Call, request: CreateAlias) -> Json:
    return {"success": True, "id": await call.services.domain_aliases.create(request.alias, request.domain, call.by)}


async def resolve(call: Call, request: ResolveAlias) -> Json:
    return {"success": True, "id": (await call.services.domain_aliases.resolve(request.alias, call.by)).id}


async def read(call: Call, request: OneAlias) -> Json:
    alias = await call.services.domain_aliases.get(request.alias, call.by)
    created = iso(alias.created) if alias.created else None
    return without_none(success=True, id=alias.id, alias=alias.alias, domain=alias.domain, created=created)


async def delete(call: Call, request: OneAlias) -> Json:
    await call.services.domain_aliases.delete(request.alias, call.by)
    return {"success": True}


_ERRORS: Rows = {NotFound: (404, "AliasNotFound"), AlreadyExists: (400, "AliasExists")}


ROUTES: tuple[Route, ...] = (
    route("GET", "/domainaliases", ListAliases, list_aliases),
    route("POST", "/domainaliases", CreateAlias, create, errors=_ERRORS),
    route("GET", "/domainaliases/resolve/{alias}", ResolveAlias, resolve, errors=_ERRORS),
    route("GET", "/domainaliases/{alias}", OneAlias, read, errors=_ERRORS),
    route("DELETE", "/domainaliases/{alias}", OneAlias, delete, errors=_ERRORS),
)
