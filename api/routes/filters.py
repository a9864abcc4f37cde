"""Filters: what accounts want done with mail as it comes."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import orjson

from api.answer import Json, iso, without_none
from api.errors import ApiError, Rows
from api.paging import cursors, position
from api.route import Call, Route, route
from api.schemas.filters import CreateFilter, ListFilters, OneFilter, UpdateFilter, UserFilters
from duckmail.errors import LimitReached, NotFound
from duckmail.model.filters import Filter, FilterAction, FilterQuery
from duckmail.model.mailbox import Mailbox
from duckmail.model.target import shown
from duckmail.services.filters import NoSuchMailbox, UnknownUser

_WORDS = {
    "seen": ("mark as read", "do not mark as read"),
    "flag": ("flag it", "do not flag it"),
    "delete": ("delete it", "do not delete it"),
    "spam": ("mark it as spam", "do not mark it as spam"),
}


async def list_filters(call: Call, request: ListFilters) -> Json:
    at = position(request)
    page, mailboxes = await call.services.filters.list(request.forward, request.limit, call.by, at.after, at.before)
    ids = [each.id for each in page.filters]
    return {
        "success": True,
        "total": page.total,
        **cursors(at.page, ids, page.has_previous, page.has_next),
        "results": [
            {
                "user": each.user,
                **_row(each, mailboxes, request.meta_data),
                "targets": list(map(shown, each.action.targets)),
            }
            for each in page.filters
        ],
    }


def _row(each: Filter, mailboxes: Mapping[str, Mailbox], meta_data: bool) -> Json:
    """In words, as listings have it."""
    return without_none(
        id=each.id,
        name=each.name,
        created=iso(each.created) if each.created else None,
        query=_query_words(each.query),
        action=_action_words(each.action, mailboxes),
        disabled=each.disabled,
        metaData=orjson.loads(each.meta_data) if meta_data else None,
    )


def _query_words(query: FilterQuery) -> list[list[object]]:
    found: list[list[object]] = [
        [key, f"({value})"]
        for key, value in (
            ("from", query.from_),
            ("to", query.to),
            ("subject", query.subject),
            ("listId", query.list_id),
        )
        if value
    ]
    if query.ha is not None:
        found.append(["has attachment"] if query.ha else ["has no attachment"])
    if query.text:
        found.append([False, f'"{query.text}"'])
    if query.size:
        found.append(["larger" if query.size > 0 else "smaller", abs(query.size)])
    return found


def _action_words(action: FilterAction, mailboxes: Mapping[str, Mailbox]) -> list[list[str]]:
    found = [[words[not value]] for key, words in _WORDS.items() if (value := getattr(action, key)) is not None]
    if action.targets:
        found.append(["forward to", ", ".join(map(_shown, action.targets))])
    if action.mailbox:
        known = mailboxes.get(action.mailbox)
        found.append(["move to folder", f'"{known.path}"' if known else "?"])
    return found


def _shown(target: str) -> str:
    """Without what is secret in a URL."""
    if "://" not in target:
        return target
    parts = urlsplit(target)
    host = parts.hostname or ""
    return host if parts.scheme.startswith("http") else f"{parts.scheme}://{host}"


async def of_user(call: Call, request: UserFilters) -> Json:
    owned = await call.services.filters.of_user(request.user, call.by)
    return {
        "success": True,
        "limits": {"allowed": owned.most, "used": len(owned.filters)},
        "results": [_row(each, owned.mailboxes, request.meta_data) for each in owned.filters],
    }


async def create(call: Call, request: CreateFilter) -> Json:
    query = {name: value for name, value in request.query.attributes().items() if value is not None}
    action = {name: value for name, value in request.action.attributes().items() if value is not None}
    new = Filter(
        id="",
        user=request.user,
        query=FilterQuery(**query),
        action=FilterAction(**action),
        name=request.name,
        disabled=request.disabled,
        meta_data=request.meta_data,
    )
    try:
        return {"success": True, "id": await call.services.filters.create(new, call.by, request.trace)}
    except LimitReached as error:
        allowed = await call.services.filters.most(request.user, call.by)
        raise ApiError(403, "TooMany", error.text, allowed=allowed) from error


async def read(call: Call, request: OneFilter) -> Json:
    found = await call.services.filters.get(request.user, request.filter, call.by)
    query, action = found.query, found.action
    sent_query = {
        "from": query.from_,
        "to": query.to,
        "subject": query.subject,
        "listId": query.list_id,
        "text": query.text,
        "ha": query.ha,
        "size": query.size or None,
    }
    sent_action = {
        "seen": action.seen,
        "flag": action.flag,
        "delete": action.delete,
        "spam": action.spam,
        "mailbox": action.mailbox,
        "targets": list(map(shown, action.targets)) or None,
    }
    return without_none(
        success=True,
        id=found.id,
        name=found.name,
        created=iso(found.created) if found.created else None,
        query={key: value for key, value in sent_query.items() if value not in ("", None)},
        action={key: value for key, value in sent_action.items() if value not in ("", None)},
        disabled=found.disabled,
        metaData=orjson.loads(found.meta_data),
    )


async def update(call: Call, request: UpdateFilter) -> Json:
    await call.services.filters.update(
        request.user,
        request.filter,
        call.by,
        query=request.query.attributes() if request.query else {},
        action=request.action.attributes() if request.action else {},
        others=request.given("name", "disabled", "meta_data"),
        trace=request.trace,
    )
    return {"success": True}


async def delete(call: Call, request: OneFilter) -> Json:
    await call.services.filters.delete(request.user, request.filter, call.by)
    return {"success": True}


_ERRORS: Rows = {
    UnknownUser: (404, "UserNotFound"),
    NoSuchMailbox: (404, "NoSuchMailbox"),
    NotFound: (404, "FilterNotFound"),
}


ROUTES: tuple[Route, ...] = (
    route("GET", "/filters", ListFilters, list_filters),
    route("GET", "/users/{user}/filters", UserFilters, of_user, errors=_ERRORS),
    route("POST", "/users/{user}/filters", CreateFilter, create, errors=_ERRORS),
    route("GET", "/users/{user}/filters/{filter}", OneFilter, read, errors=_ERRORS),
    route("PUT", "/users/{user}/filters/{filter}", UpdateFilter, update, errors=_ERRORS),
    route("DELETE", "/users/{user}/filters/{filter}", OneFilter, delete, errors=_ERRORS),
)
