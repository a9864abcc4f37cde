"""Mailboxes: listed, made, read, changed and removed."""

from api.answer import Json
from api.errors import ApiError, Rows
from api.route import Call, Route, route
from api.schemas.mailboxes import RESOLVE, CreateMailbox, ListMailboxes, OneMailbox, ReadMailbox, UpdateMailbox
from duckmail.errors import AlreadyExists, Cannot, LimitReached, NotFound
from duckmail.model.mailbox import INBOX, SEPARATOR, Mailbox, MailboxChanges


async def list_mailboxes(call: Call, request: ListMailboxes) -> Json:
    mailboxes = await call.services.mailboxes.list(request.user, call.by)
    return {
        "success": True,
        "results": [
            {
                **_described(mailbox),
                **({"retention": mailbox.retention} if mailbox.retention else {}),
                "hidden": mailbox.hidden,
                "encryptMessages": mailbox.encrypt_messages,
                **(_counters(mailbox) if request.counters else {}),
                **({"size": mailbox.size} if request.sizes and mailbox.size else {}),
            }
            for mailbox in mailboxes
            if (request.show_hidden or not mailbox.hidden)
            and (not request.special_use or mailbox.special_use or mailbox.path == INBOX)
        ],
    }


def _described(mailbox: Mailbox) -> Json:
    answer: Json = {
        "id": mailbox.id,
        "name": mailbox.path.rpartition(SEPARATOR)[2],
        "path": mailbox.path,
        "modifyIndex": mailbox.modseq,
        "subscribed": mailbox.subscribed,
    }
    # Clients of the contract know INBOX by a null, and plain mailboxes by nothing.
    if mailbox.special_use or mailbox.path == INBOX:
        answer["specialUse"] = mailbox.special_use
    return answer


def _counters(mailbox: Mailbox) -> Json:
    return {"total": mailbox.messages, "unseen": mailbox.unseen}


async def create(call: Call, request: CreateMailbox) -> Json:
    made = await call.services.mailboxes.create(
        request.user,
        request.path,
        call.by,
        retention=request.retention,
        hidden=request.hidden,
        encrypt_messages=request.encrypt_messages,
    )
    return {"success": True, "id": made.id}


async def read(call: Call, request: ReadMailbox) -> Json:
    service = call.services.mailboxes
    if request.mailbox == RESOLVE:
        mailbox = await service.resolve(request.user, request.path, call.by)
    else:
        mailbox = await service.get(request.user, request.mailbox, call.by)
    return {
        "success": True,
        **_described(mailbox),
        "hidden": mailbox.hidden,
        "encryptMessages": mailbox.encrypt_messages,
        **_counters(mailbox),
    }


async def update(call: Call, request: UpdateMailbox) -> Json:
    if request.model_fields_set <= {"user", "mailbox"}:
        raise ApiError(400, "", "Nothing was changed")
    changes = MailboxChanges(**request.given("subscribed", "hidden", "retention", "encrypt_messages"))
    await call.services.mailboxes.update(request.user, request.mailbox, request.path, changes, call.by)
    return {"success": True}


async def delete(call: Call, request: OneMailbox) -> Json:
    await call.services.mailboxes.delete(request.user, request.mailbox, call.by)
    return {"success": True}


_ERRORS: Rows = {
    AlreadyExists: (400, "MailboxExistsError"),
    Cannot: (400, "DisallowedMailboxMethod"),
    LimitReached: (400, "DisallowedMailboxMethod"),
}
_MAILBOXES = "/users/{user}/mailboxes"
_MAILBOX = f"{_MAILBOXES}/{{mailbox}}"

ROUTES: tuple[Route, ...] = (
    route(
        "GET",
        _MAILBOXES,
        ListMailboxes,
        list_mailboxes,
        errors={NotFound: (404, "UserNotFound")},
    ),
    route("POST", _MAILBOXES, CreateMailbox, create, errors=_ERRORS),
    route("GET", _MAILBOX, ReadMailbox, read),
    route("PUT", _MAILBOX, UpdateMailbox, update, errors=_ERRORS),
    route("DELETE", _MAILBOX, OneMailbox, delete, errors=_ERRORS),
)
