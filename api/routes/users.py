"""Users: accounts are made, read, changed and removed."""

from datetime import UTC, datetime

import orjson

from api.answer import Json, iso, without_none
from api.errors import Rows
from api.paging import cursors, position
from api.route import Call, Route, keep_token, route
from api.schemas.base import Traced
from api.schemas.users import CreateUser, DeleteUser, ListUsers, LogOut, OneUser, ResetPassword, ResolveUser, UpdateUser
from duckmail.errors import AccountExists, AddressTaken, AuthenticationFailed, InUse, NotFound, UsernameTaken
from duckmail.model.account import Limits, UserQuery
from duckmail.model.target import shown
from duckmail.services.usage import Usage
from duckmail.services.users import Account, NewUser, normalise_tags


async def create(call: Call, request: CreateUser) -> Json:
    attributes = request.attributes()
    if "tags" in attributes:
        attributes["tags"] = normalise_tags(attributes["tags"])
    new = NewUser(
        username=request.username,
        password=request.password,
        hashed=request.hashed_password,
        safe=not request.allow_unsafe,
        temporary=request.require_password_change,
        address="" if request.empty_address else request.address or None,
        tag_address=request.add_tags_to_address,
        folders=request.folders(),
        attributes=attributes,
    )
    return {"success": True, "id": await call.services.users.create(new, call.by, request.trace)}


async def list_users(call: Call, request: ListUsers) -> Json:
    at = position(request)
    query = UserQuery(request.query, request.forward, request.tags, request.required_tags)
    listing = await call.services.users.list(query, request.limit, call.by, at.after, at.before)
    return {
        "success": True,
        **({"query": request.query} if "query" in request.model_fields_set else {}),
        "total": listing.total,
        **cursors(at.page, [account.user.id for account in listing.accounts], listing.has_previous, listing.has_next),
        "results": [_row(account, request.meta_data, request.internal_data) for account in listing.accounts],
    }


def _row(account: Account, meta_data: bool, internal_data: bool) -> Json:
    user = account.user
    return {
        "id": user.id,
        "username": user.username,
        "name": user.name or None,
        "address": user.address,
        "tags": user.tags,
        "targets": list(map(shown, user.targets)),
        "enabled2fa": user.enabled_2fa,
        "autoreply": user.autoreply,
        "encryptMessages": user.encrypt_messages,
        "encryptForwarded": user.encrypt_forwarded,
        "quota": {"allowed": account.allowed.quota, "used": account.used},
        **({"metaData": orjson.loads(user.meta_data)} if meta_data else {}),
        **({"internalData": orjson.loads(user.internal_data)} if internal_data else {}),
        "hasPasswordSet": bool(user.password_hash),
        "activated": user.activated,
        "disabled": user.disabled,
        "suspended": user.suspended,
    }


_KEY = ("name", "address", "fingerprint")


async def read(call: Call, request: OneUser) -> Json:
    account = await call.services.users.account(request.user, call.by)
    user = account.user
    answer = {
        "success": True,
        "id": user.id,
        "username": user.username,
        "name": user.name or None,
        "address": user.address,
        "language": user.language or None,
        **({"retention": user.retention} if user.retention else {}),
        "enabled2fa": user.enabled_2fa,
        "autoreply": user.autoreply,
        "encryptMessages": user.encrypt_messages,
        "encryptForwarded": user.encrypt_forwarded,
        "pubKey": user.pub_key,
        **({"mtaRelay": shown(user.mta_relay)} if user.mta_relay else {}),
        "keyInfo": dict(zip(_KEY, user.key_info, strict=True)) if user.key_info else False,
        "metaData": orjson.loads(user.meta_data),
        "internalData": orjson.loads(user.internal_data),
        "targets": list(map(shown, user.targets)),
        "spamLevel": user.spam_level,
        "limits": _limits(account.allowed, account.used, await call.services.usages.of(request.user, call.by)),
        "tags": user.tags,
        "fromWhitelist": user.from_whitelist,
        "disabledScopes": user.disabled_scopes,
        "hasPasswordSet": bool(user.password_hash or user.temp_password_hash),
        "featureFlags": {"indexing": True} if user.indexing else {},
        "activated": user.activated,
        "disabled": user.disabled,
        "suspended": user.suspended,
    }
    if call.by.role == "user":
        return {key: value for key, value in answer.items() if key not in ("tags", "disabledScopes", "internalData")}
    return answer


def _limits(allowed: Limits, used: int, usage: Usage) -> Json:
    def counted(name: str) -> Json:
        count = usage.counts.get(name)
        # `ttl` false: the counter has not been started.
        return {
            "allowed": getattr(allowed, name),
            "used": max(count.value, 0) if count else 0,
            "ttl": (count and count.ttl) or False,
        }

    return {
        "quota": {"allowed": allowed.quota, "used": used},
        "recipients": counted("recipients"),
        "filters": {"allowed": allowed.filters, "used": usage.filters},
        "forwards": counted("forwards"),
        "received": counted("received_max"),
        "imapUpload": counted("imap_max_upload"),
        "imapDownload": counted("imap_max_download"),
        "pop3Download": counted("pop3_max_download"),
        "pop3MaxMessages": {"allowed": allowed.pop3_max_messages},
        "imapMaxConnections": {"allowed": allowed.imap_max_connections, "used": usage.sessions},
    }


async def update(call: Call, request: UpdateUser) -> Json:
    services = call.services
    changes = {**request.attributes(), **request.given("disabled", "suspended")}
    if "tags" in changes:
        changes["tags"] = normalise_tags(changes["tags"])
    if request.existing_password:
        account = await services.users.get(request.user, call.by)
        await services.auth.confirm(account, request.existing_password, request.trace)
    password = request.password if "password" in request.model_fields_set else None
    user = await services.users.update(
        request.user,
        changes,
        call.by,
        password,
        request.hashed_password,
        safe=not request.allow_unsafe,
        trace=request.trace,
    )
    if request.disable2fa:
        await services.mfa.disable_all(request.user, call.by, request.trace)
    await services.usages.begin_anew(request.user, frozenset(changes), call.by)
    if password is not None:
        await keep_token(call, user)
    return {"success": True}


async def delete(call: Call, request: DeleteUser) -> Json:
    later = request.delete_after
    if later is not None and later <= datetime.now(UTC):
        later = None
    removal = await call.services.users.delete(request.user, call.by, later, request.trace)
    return without_none(
        success=True,
        code="TaskScheduled",
        user=request.user,
        addresses={"deleted": removal.addresses},
        deleteAfter=iso(request.delete_after) if request.delete_after else None,
        task=removal.id,
    )


async def reset_quota(call: Call, request: OneUser) -> Json:
    reset = await call.services.quotas.reset(request.user, call.by)
    return {"success": True, "storageUsed": reset.used, "previousStorageUsed": reset.previous}


async def reset_all_quotas(call: Call, _: Traced) -> Json:
    return {"success": True, "task": await call.services.quotas.reset_all(call.by)}


async def reset_password(call: Call, request: ResetPassword) -> Json:
    later = request.valid_after
    password = await call.services.users.reset_password(request.user, call.by, later, request.trace)
    await call.services.mfa.disable_all(request.user, call.by, request.trace)
    return without_none(success=True, password=password, validAfter=iso(later) if later else None)


async def read_removed(call: Call, request: OneUser) -> Json:
    removed = await call.services.users.removed(request.user, call.by)
    return {
        "success": True,
        "user": removed.user,
        "username": removed.username,
        "storageUsed": removed.used,
        **({"tags": removed.tags} if removed.tags else {}),
        "deleted": iso(removed.deleted),
        "recoverableAddresses": removed.addresses,
    }


async def restore(call: Call, request: OneUser) -> Json:
    restored = await call.services.users.restore(request.user, call.by, request.trace)
    return {
        "success": True,
        "code": "TaskCancelled" if restored.pending else "RequestProcessed",
        "user": request.user,
        "task": restored.task,
        "addresses": {"recovered": restored.addresses, "main": restored.main},
    }


async def log_out(call: Call, request: LogOut) -> Json:
    await call.services.users.log_out(request.user, request.reason, call.by)
    return {"success": True}


async def resolve(call: Call, request: ResolveUser) -> Json:
    return {"success": True, "id": await call.services.users.resolve(request.username, call.by)}


_NOT_FOUND: Rows = {NotFound: (404, "UserNotFound")}

ROUTES: tuple[Route, ...] = (
    route("GET", "/users", ListUsers, list_users),
    route(
        "POST",
        "/users",
        CreateUser,
        create,
        # Clients of the contract expect 500 for these.
        errors={UsernameTaken: (500, "UserExistsError"), AddressTaken: (500, "AddressExistsError")},
        echo=("username",),
    ),
    route(
        "GET",
        "/users/resolve/{username}",
        ResolveUser,
        resolve,
        errors=_NOT_FOUND,
    ),
    route("GET", "/users/{user}", OneUser, read, errors=_NOT_FOUND),
    route(
        "PUT",
        "/users/{user}",
        UpdateUser,
        update,
        errors={NotFound: (500, "UserNotFound"), AuthenticationFailed: (500, "AuthFail")},
    ),
    route(
        "POST",
        "/users/{user}/quota/reset",
        OneUser,
        reset_quota,
        errors=_NOT_FOUND,
    ),
    route("POST", "/quota/reset", Traced, reset_all_quotas),
    route(
        "POST",
        "/users/{user}/password/reset",
        ResetPassword,
        reset_password,
        errors={NotFound: (500, "UserUpdateFail")},
    ),
    route(
        "GET",
        "/users/{user}/restore",
        OneUser,
        read_removed,
        errors={NotFound: (404, "AccountNotFound")},
    ),
    route(
        "POST",
        "/users/{user}/restore",
        OneUser,
        restore,
        errors={
            NotFound: (500, "AccountNotFound"),
            AccountExists: (500, "AccountFound"),
            InUse: (500, "DeleteInProgress"),
        },
    ),
    route(
        "PUT",
        "/users/{user}/logout",
        LogOut,
        log_out,
        errors={NotFound: (500, "UserNotFound")},
    ),
    route("DELETE", "/users/{user}", DeleteUser, delete),
)
