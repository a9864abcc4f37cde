"""Messages: listed, read, changed, searched for."""

import re
from collections.abc import AsyncIterator
from datetime import datetime

import orjson
from aiohttp import web

from api.answer import Json, iso, without_none
from api.errors import ApiError, Rows
from api.places import find_place, place_cursors
from api.route import Call, Route, route
from api.rows import attachment_id, flags, kind, listed, outbound, people, person, row, written
from api.schemas.messages import (
    ActOnSearch,
    DeleteMessages,
    ListMessages,
    OneMessage,
    ReadAttachment,
    ReadMessage,
    Search,
    SearchAction,
    SearchFilters,
    UpdateMessages,
)
from api.stored import STORED
from duckmail.errors import NoSuchMessage, NotFound
from duckmail.mime.display import link_parts
from duckmail.model.listing import ListedAttachment, ListedMessage, MailboxQuery, Place
from duckmail.services.messages.changing import MessageChanges
from duckmail.services.messages.criteria import Filters
from duckmail.services.messages.finding import Action, FoundPage, Spot, Wanted
from duckmail.services.messages.reading import AttachmentDetail, OpenMessage

_ID = re.compile(r"[0-9a-f]{24}")


async def list_messages(call: Call, request: ListMessages) -> Json:
    reading = call.services.messages.reading
    at = find_place(request, _place)
    query = MailboxQuery(request.limit, request.order == "asc", at.after, at.before, request.unseen)
    mailbox, page = await reading.page(
        request.user, request.mailbox, query, call.by, headers=bool(request.include_headers)
    )
    sizes = None
    if request.thread_counters:
        sizes = await reading.thread_sizes(request.user, [each.thread for each in page.messages], call.by)
    return {
        "success": True,
        "total": page.total,
        **place_cursors(
            at.page,
            _spot(page.messages[0]) if page.messages else None,
            _spot(page.messages[-1]) if page.messages else None,
            has_previous=page.has_previous,
            has_next=page.has_next,
        ),
        "specialUse": mailbox.special_use,
        "results": [
            row(each, headers=request.include_headers, meta_data=request.meta_data, thread_sizes=sizes)
            for each in page.messages
        ],
    }


def _place(moment: datetime, uid: object) -> Place:
    if type(uid) is not int or not 0 < uid < 1 << 32:
        raise ValueError("no UID")
    return Place(moment, uid)


def _spot(message: ListedMessage) -> tuple[datetime, object]:
    return message.idate, message.uid


async def read(call: Call, request: ReadMessage) -> Json:
    services = call.services.messages
    found = await services.reading.open(request.user, request.mailbox, request.message, call.by)
    names = found.listed.flags
    if request.mark_as_seen and "\\Seen" not in names:
        await services.changing.mark_seen(request.user, request.mailbox, request.message, call.by)
        names = (*names, "\\Seen")
    queued = await services.outbound.waiting(request.user, found.details.outbound)
    return {
        "success": True,
        **_described(found, request),
        **flags(names),
        **_text(found, request),
        **written(found.details),
        **({"outbound": [outbound(each) for each in queued]} if queued else {}),
    }


def _described(found: OpenMessage, request: ReadMessage) -> Json:
    message = found.listed
    sender = message.addresses.get("from", ())
    several = {
        key: people(message.addresses[name]) if name in message.addresses else None
        for key, name in (("replyTo", "replyto"), ("to", "to"), ("cc", "cc"), ("bcc", "bcc"))
    }
    recipient = {"value": found.recipient, "formatted": found.recipient}
    return without_none(
        id=message.uid,
        mailbox=message.mailbox,
        thread=message.thread,
        user=request.user,
        envelope={"from": found.sender, "rcpt": [recipient] if found.recipient else []},
        **{"from": person(sender[0] if sender else ("", ""))},
        **several,
        subject=message.subject,
        messageId=message.message_id or f"<{message.id}@duckmail.invalid>",
        date=iso(message.date),
        idate=iso(message.idate),
        list=_list(found),
        expires=iso(message.expires) if message.expires else None,
        size=message.size,
        verificationResults=_verification(found),
        references=list(message.references),
        metaData=orjson.loads(message.meta_data),
        **kind(message),
    )


def _list(found: OpenMessage) -> Json | None:
    if found.list_id is None and not found.unsubscribe:
        return None
    return without_none(
        id=person(found.list_id) if found.list_id else None,
        unsubscribe=[{"name": "", "address": uri.removeprefix("mailto:")} for uri in found.unsubscribe] or None,
    )


def _verification(found: OpenMessage) -> Json | None:
    known = found.verification
    if known is None:
        return None
    return {
        "tls": {"name": known.tls[1], "version": known.tls[0]} if known.tls else False,
        "spf": known.spf or False,
        "dkim": known.dkim or False,
    }


def _text(found: OpenMessage, request: ReadMessage) -> Json:
    by_cid = {
        detail.attachment.cid: attachment_id(number)
        for number, detail in enumerate(found.attachments, 1)
        if detail.attachment.cid
    }
    base = f"/users/{request.user}/mailboxes/{request.mailbox}/messages/{request.message}/attachments/"

    def link(identifier: str) -> str:
        return base + identifier if request.replace_cid_links else f"attachment:{identifier}"

    answer: Json = {
        "text": found.display.text,
        "attachments": [_attachment(number, each) for number, each in enumerate(found.attachments, 1)],
    }
    if found.display.html:
        answer["html"] = [link_parts(piece, by_cid, link) for piece in found.display.html]
    return answer


def _attachment(number: int, detail: AttachmentDetail) -> Json:
    one = detail.attachment
    shown = listed(
        number,
        ListedAttachment(
            one.path, one.filename, one.content_type, one.disposition, one.encoding, one.size, one.cid, one.related
        ),
    )
    return {
        **shown,
        **({"hash": detail.digest.hex()} if detail.digest else {}),
        "cid": f"<{one.cid}>" if one.cid else None,
        "size": one.size,
        "sizeKb": (detail.decoded + 1023) // 1024,
    }


async def source(call: Call, request: OneMessage) -> web.StreamResponse:
    reading = call.services.messages.reading
    return _stream("message/rfc822", await reading.source(request.user, request.mailbox, request.message, call.by))


async def attachment(call: Call, request: ReadAttachment) -> web.StreamResponse:
    found = await call.services.messages.reading.attachment(
        request.user,
        request.mailbox,
        request.message,
        request.attachment,
        call.by,
        as_text=request.send_as_string,
    )
    return _stream(found.content_type, found.octets)


def _stream(content_type: str, octets: AsyncIterator[bytes]) -> web.StreamResponse:
    return web.Response(body=octets, headers={**STORED, "Content-Type": content_type})


async def update(call: Call, request: UpdateMessages) -> Json:
    changing = call.services.messages.changing
    changes = MessageChanges(
        *_flags(request),
        expires=request.expires,
        no_expiry="expires" in request.model_fields_set and request.expires is None,
        meta_data=request.meta_data,
    )
    if request.move_to:
        moved = await changing.move(
            request.user, request.mailbox, request.message, call.by, target=request.move_to, changes=changes
        )
        return {"success": True, "mailbox": moved.target, "id": [list(pair) for pair in moved.pairs]}
    if not changes:
        raise ApiError(400, "", "Nothing was changed")
    updated = await changing.update(request.user, request.mailbox, request.message, changes, call.by)
    return {"success": True, "updated": updated}


def _flags(request: UpdateMessages | SearchAction) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those to set, and those to take away."""
    wanted = {
        f"\\{name.capitalize()}": getattr(request, name, None) for name in ("seen", "deleted", "flagged", "draft")
    }
    return (
        tuple(flag for flag, value in wanted.items() if value is True),
        tuple(flag for flag, value in wanted.items() if value is False),
    )


async def delete(call: Call, request: OneMessage) -> Json:
    await call.services.messages.changing.delete(request.user, request.mailbox, request.message, call.by)
    return {"success": True}


async def delete_all(call: Call, request: DeleteMessages) -> Json:
    services, keep = call.services.messages, not request.skip_archive
    if request.in_background:
        return _scheduled(await services.later.delete_all(request.user, request.mailbox, call.by, archive=keep))
    deleted = await services.changing.delete_all(request.user, request.mailbox, call.by, archive=keep)
    return {"success": True, "deleted": deleted, "errors": 0}


def _scheduled(task: str) -> Json:
    return {"success": True, "scheduled": task, "existing": False}


async def search(call: Call, request: Search) -> Json:
    services = call.services.messages
    at = find_place(request, _found_spot)
    by_date = "order" in request.model_fields_set
    page = FoundPage(request.limit, by_date, request.order == "asc", at.after, at.before)
    found = await services.finding.find(
        request.user, _wanted(request), page, call.by, headers=bool(request.include_headers)
    )
    sizes = None
    if request.thread_counters:
        threads = [each.thread for each in found.page.messages]
        sizes = await services.reading.thread_sizes(request.user, threads, call.by)
    return {
        "success": True,
        **({"query": request.query or request.q} if request.query or request.q else {}),
        "total": found.page.total,
        **place_cursors(
            at.page, found.first, found.last, has_previous=found.page.has_previous, has_next=found.page.has_next
        ),
        "results": [
            row(each, headers=request.include_headers, thread_sizes=sizes, attachments=False)
            for each in found.page.messages
        ],
    }


def _found_spot(moment: datetime, key: object) -> Spot:
    """`key`: a UID, or the id of a message."""
    if isinstance(key, str) and _ID.fullmatch(key):
        return moment, key
    return moment, _place(moment, key).uid


def _wanted(request: SearchFilters) -> Wanted:
    either = request.either
    return Wanted(
        filters=Filters(
            query=request.query,
            thread=request.thread,
            sender=request.sender,
            recipient=request.recipient,
            subject=request.subject,
            since=request.datestart,
            before=request.dateend,
            least=request.min_size,
            most=request.max_size,
            attachments=request.attachments,
            flagged=request.flagged,
            unseen=request.unseen,
            seen=request.seen,
            uids=request.id,
        ),
        either=Filters(query=either.query, sender=either.sender, recipient=either.recipient, subject=either.subject),
        q=request.q,
        mailbox=request.mailbox,
        searchable=request.searchable,
    )


async def act_on_search(call: Call, request: ActOnSearch) -> Json:
    action = request.action
    wanted = Action(MessageChanges(*_flags(action)), action.move_to, action.delete)
    return _scheduled(await call.services.messages.later.act(request.user, _wanted(request), wanted, call.by))


_MESSAGES = "/users/{user}/mailboxes/{mailbox}/messages"
_MESSAGE = f"{_MESSAGES}/{{message}}"
_SEARCH = "/users/{user}/search"
_NO_ATTACHMENT: Rows = {NotFound: (404, "AttachmentNotFound")}
_NO_USER: Rows = {NotFound: (404, "UserNotFound")}

ROUTES: tuple[Route, ...] = (
    route("GET", _MESSAGES, ListMessages, list_messages),
    route("PUT", _MESSAGES, UpdateMessages, update),
    route("DELETE", _MESSAGES, DeleteMessages, delete_all),
    route("GET", _SEARCH, Search, search, errors=_NO_USER),
    # It moves and deletes: who may only read may not.
    route("POST", _SEARCH, ActOnSearch, act_on_search, errors=_NO_USER),
    route("GET", _MESSAGE, ReadMessage, read),
    route("PUT", _MESSAGE, UpdateMessages, update),
    route(
        "DELETE",
        _MESSAGE,
        OneMessage,
        delete,
        errors={NoSuchMessage: (404, "")},  # clients of the contract know no code here
    ),
    route("GET", f"{_MESSAGE}/message.eml", OneMessage, source),
    route(
        "GET",
        f"{_MESSAGE}/attachments/{{attachment}}",
        ReadAttachment,
        attachment,
        errors=_NO_ATTACHMENT,
    ),
)
