"""Addresses: of accounts, and that only forward; whom mail belongs to; domains under a new name."""

from dataclasses import replace
from typing import Any

import orjson

from api.answer import Json, iso, without_none
from api.errors import Rows
from api.paging import text_cursors, text_position
from api.route import Call, Route, route
from api.routes import autoreplies
from api.schemas.addresses import (
    AddressRegister,
    CreateAddress,
    CreateForwarded,
    ListAddresses,
    OneAddress,
    OneForwarded,
    RenameDomain,
    ResolveAddress,
    UpdateAddress,
    UpdateForwarded,
    UserAddresses,
)
from duckmail.errors import NotFound
from duckmail.model.account import User
from duckmail.model.autoreply import Autoreply
from duckmail.model.target import shown
from duckmail.services.users import normalise_tags
from storage.addresses import AddressRecord
from storage.addressrecords import AddressQuery


async def list_addresses(call: Call, request: ListAddresses) -> Json:
    at = text_position(request)
    query = AddressQuery(request.query, request.forward, request.tags, request.required_tags)
    page = await call.services.addresses.list(query, request.limit, call.by, at.after, at.before)
    rows = [(record.view, record.id) for record in page.addresses]
    return {
        "success": True,
        **({"query": request.query} if "query" in request.model_fields_set else {}),
        "total": page.total,
        **text_cursors(at.page, rows, page.has_previous, page.has_next),
        "results": [_row(record, request.meta_data, request.internal_data) for record in page.addresses],
    }


def _row(record: AddressRecord, meta_data: bool, internal_data: bool) -> Json:
    return without_none(
        id=record.id,
        name=record.name,
        address=record.address,
        user=record.user or None,
        forwarded=not record.user,
        forwardedDisabled=not record.user and record.forwarded_disabled,
        targets=None if record.user else list(map(shown, record.targets)),
        tags=record.tags,
        metaData=orjson.loads(record.meta_data) if meta_data else None,
        internalData=orjson.loads(record.internal_data) if internal_data else None,
    )


async def create(call: Call, request: CreateAddress) -> Json:
    record = AddressRecord(
        id="",
        address=request.address,
        view="",
        user=request.user,
        name=request.name,
        tags=normalise_tags(request.tags),
        meta_data=request.meta_data,
        internal_data=request.internal_data,
    )
    made = await call.services.addresses.create(record, call.by, main=request.main, wildcard=request.allow_wildcard)
    return {"success": True, "id": made}


async def of_user(call: Call, request: UserAddresses) -> Json:
    user, records = await call.services.addresses.of_user(request.user, call.by)
    internal_data = request.internal_data and call.by.role != "user"
    return {
        "success": True,
        "results": [_owned(user, record, request.meta_data, internal_data) for record in records],
    }


def _owned(user: User, record: AddressRecord, meta_data: bool, internal_data: bool) -> Json:
    return without_none(
        id=record.id,
        name=record.name,
        address=record.address,
        main=record.address == user.address,
        created=iso(record.created) if record.created else None,
        tags=record.tags,
        metaData=orjson.loads(record.meta_data) if meta_data else None,
        internalData=orjson.loads(record.internal_data) if internal_data else None,
    )


async def read(call: Call, request: OneAddress) -> Json:
    user, record = await call.services.addresses.of_user_one(request.user, request.address, call.by)
    return {"success": True, **_owned(user, record, meta_data=True, internal_data=call.by.role != "user")}


async def update(call: Call, request: UpdateAddress) -> Json:
    changes = _changes(request.given("address", "name", "tags", "meta_data", "internal_data"))
    main = "main" in request.model_fields_set
    await call.services.addresses.update(request.user, request.id, changes, call.by, main=main)
    return {"success": True}


def _changes(given: dict[str, Any]) -> dict[str, Any]:
    if "tags" in given:
        given["tags"] = normalise_tags(given["tags"])
    return given


async def delete(call: Call, request: OneAddress) -> Json:
    await call.services.addresses.delete(request.user, request.address, call.by)
    return {"success": True}


async def register(call: Call, request: AddressRegister) -> Json:
    found = await call.services.address_register.find(request.user, request.query, request.limit, call.by)
    return {
        "success": True,
        "results": [without_none(id=each.id, name=each.name or None, address=each.address) for each in found],
    }


async def create_forwarded(call: Call, request: CreateForwarded) -> Json:
    record = AddressRecord(
        id="",
        address=request.address,
        view="",
        name=request.name,
        targets=request.targets,
        tags=normalise_tags(request.tags),
        forwards=request.forwards,
        autoreply=Autoreply(**request.autoreply.attributes()) if request.autoreply else None,
        meta_data=request.meta_data,
        internal_data=request.internal_data,
    )
    made = await call.services.addresses.create_forwarded(record, call.by, wildcard=request.allow_wildcard)
    return {"success": True, "id": made}


async def update_forwarded(call: Call, request: UpdateForwarded) -> Json:
    given = request.given("address", "name", "targets", "tags", "meta_data", "internal_data", "forwarded_disabled")
    changes = _changes(given)
    if request.forwards:  # 0 leaves it
        changes["forwards"] = request.forwards
    if request.autoreply is not None:
        known = (await call.services.addresses.forwarded(request.id, call.by)).autoreply or Autoreply()
        changes["autoreply"] = replace(known, **request.autoreply.changes())
    await call.services.addresses.update_forwarded(request.id, changes, call.by)
    return {"success": True}


async def delete_forwarded(call: Call, request: OneForwarded) -> Json:
    await call.services.addresses.delete_forwarded(request.address, call.by)
    return {"success": True}


async def read_forwarded(call: Call, request: OneForwarded) -> Json:
    record = await call.services.addresses.forwarded(request.address, call.by)
    return {"success": True, **(await _forwarded(call, record))}


async def _forwarded(call: Call, record: AddressRecord) -> Json:
    forwards = await call.services.addresses.forwards(record)
    return without_none(
        id=record.id,
        address=record.address,
        name=record.name,
        targets=list(map(shown, record.targets)),
        # `ttl` false: the counter has not been started.
        limits={"forwards": {"allowed": forwards.allowed, "used": forwards.used, "ttl": forwards.ttl or False}},
        autoreply=autoreplies.shown(record.autoreply or Autoreply()),
        created=iso(record.created) if record.created else None,
        tags=record.tags,
        metaData=orjson.loads(record.meta_data),
        internalData=orjson.loads(record.internal_data),
        forwardedDisabled=record.forwarded_disabled or None,
    )


async def resolve(call: Call, request: ResolveAddress) -> Json:
    addresses = call.services.addresses
    record = await addresses.resolve(request.address, call.by, wildcard=request.allow_wildcard)
    if not record.user:
        return {"success": True, **(await _forwarded(call, record))}
    return {
        "success": True,
        **without_none(
            id=record.id,
            address=record.address,
            name=record.name,
            user=record.user,
            tags=record.tags,
            created=iso(record.created) if record.created else None,
            metaData=orjson.loads(record.meta_data),
            internalData=orjson.loads(record.internal_data),
        ),
    }


async def rename_domain(call: Call, request: RenameDomain) -> Json:
    renamed = await call.services.addresses.rename_domain(request.old_domain, request.new_domain, call.by)
    return {
        "success": True,
        "modifiedAddresses": renamed.addresses,
        "modifiedUsers": renamed.users,
        "modifiedDkim": renamed.dkim,
        "modifiedAliases": renamed.aliases,
    }


_NO_USER: Rows = {NotFound: (404, "UserNotFound")}

ROUTES: tuple[Route, ...] = (
    route("GET", "/addresses", ListAddresses, list_addresses),
    route("POST", "/addresses/forwarded", CreateForwarded, create_forwarded),
    route("PUT", "/addresses/forwarded/{id}", UpdateForwarded, update_forwarded),
    route("GET", "/addresses/forwarded/{address}", OneForwarded, read_forwarded),
    route(
        "DELETE",
        "/addresses/forwarded/{address}",
        OneForwarded,
        delete_forwarded,
    ),
    route("GET", "/addresses/resolve/{address}", ResolveAddress, resolve),
    route("PUT", "/addresses/renameDomain", RenameDomain, rename_domain),
    route(
        "POST",
        "/users/{user}/addresses",
        CreateAddress,
        create,
        errors=_NO_USER,
    ),
    route("GET", "/users/{user}/addresses", UserAddresses, of_user, errors=_NO_USER),
    route("GET", "/users/{user}/addresses/{address}", OneAddress, read, errors=_NO_USER),
    route("PUT", "/users/{user}/addresses/{id}", UpdateAddress, update, errors=_NO_USER),
    route(
        "DELETE",
        "/users/{user}/addresses/{address}",
        OneAddress,
        delete,
        errors=_NO_USER,
    ),
    route(
        "GET",
        "/users/{user}/addressregister",
        AddressRegister,
        register,
        errors=_NO_USER,
    ),
)
