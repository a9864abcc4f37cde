"""DKIM: the keys that sign what leaves."""

from datetime import timedelta

from api.answer import Json, iso
from api.errors import Rows
from api.paging import text_cursors, text_position
from api.permissions import Permission, Reach
from api.route import Call, Route, route
from api.schemas.dkim import ListKeys, OneKey, PutKey, ResolveDomain
from duckmail.errors import NotFound
from duckmail.services.dkim import keys
from duckmail.services.dkim.dkim import NewKey, record_name, signing_now
from storage.dkim import SigningDomain, SigningKey


async def list_keys(call: Call, request: ListKeys) -> Json:
    at = text_position(request)
    page = await call.services.dkim.list(request.query, request.limit, call.by, at.after, at.before)
    rows = [(domain.domain, domain.id) for domain in page.domains]
    return {
        "success": True,
        **({"query": request.query} if "query" in request.model_fields_set else {}),
        "total": page.total,
        **text_cursors(at.page, rows, page.has_previous, page.has_next),
        "results": [
            {**_named(domain), "fingerprint": _fingerprint(domain), "created": iso(domain.keys[0].created)}
            for domain in page.domains
        ],
    }


async def put(call: Call, request: PutKey) -> Json:
    new = NewKey(
        request.domain,
        request.selector,
        request.private_key,
        request.description,
        request.algorithm,
        None if request.overlap is None else timedelta(seconds=request.overlap),
    )
    return {"success": True, **_shown(await call.services.dkim.put(new, call.by))}


async def resolve(call: Call, request: ResolveDomain) -> Json:
    return {"success": True, "id": (await call.services.dkim.resolve(request.domain, call.by)).id}


async def read(call: Call, request: OneKey) -> Json:
    domain = await call.services.dkim.get(request.dkim, call.by)
    signs = signing_now(domain)
    return {
        "success": True,
        **_shown(domain),
        "created": iso(domain.keys[0].created),
        "keys": [
            {
                "selector": key.selector,
                "algorithm": key.algorithm,
                "fingerprint": keys.fingerprint(key.public),
                "dnsTxt": _record(domain, key),
                "created": iso(key.created),
                "since": iso(key.since),
                "signs": key in signs,
            }
            for key in domain.keys
        ],
    }


async def delete(call: Call, request: OneKey) -> Json:
    await call.services.dkim.delete(request.dkim, call.by)
    return {"success": True}


def _named(domain: SigningDomain) -> Json:
    return {
        "id": domain.id,
        "domain": domain.domain,
        "selector": domain.keys[0].selector,
        "description": domain.description,
    }


def _shown(domain: SigningDomain) -> Json:
    """The newest key stands for the domain."""
    key = domain.keys[0]
    return {
        **_named(domain),
        "fingerprint": _fingerprint(domain),
        "publicKey": keys.public_pem(key.public),
        "dnsTxt": _record(domain, key),
    }


def _fingerprint(domain: SigningDomain) -> str:
    return keys.fingerprint(domain.keys[0].public)


def _record(domain: SigningDomain, key: SigningKey) -> Json:
    return {"name": record_name(domain.domain, key.selector), "value": keys.dns_value(key.algorithm, key.public)}


_ERRORS: Rows = {NotFound: (404, "DkimNotFound")}


def _may(action: str) -> Permission:
    return Permission("dkim", action, Reach.ANY)


ROUTES: tuple[Route, ...] = (
    route("GET", "/dkim", ListKeys, list_keys, _may("read")),
    route("POST", "/dkim", PutKey, put, _may("create")),
    route("GET", "/dkim/resolve/{domain}", ResolveDomain, resolve, _may("read"), errors=_ERRORS),
    route("GET", "/dkim/{dkim}", OneKey, read, _may("read"), errors=_ERRORS),
    route("DELETE", "/dkim/{dkim}", OneKey, delete, _may("delete"), errors=_ERRORS),
)
