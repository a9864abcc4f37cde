"""Of the tag Messages what writes: messages uploaded, drafts submitted, stored ones sent on, queued ones taken back."""

from api.answer import Json, without_none
from api.errors import Rows
from api.permissions import Permission
from api.route import UPLOAD_LIMIT, Call, Route, route
from api.rows import sequence
from api.schemas.writing import DeleteOutbound, ForwardMessage, SubmitDraft, UploadMessage
from duckmail.errors import InUse, NotFound
from duckmail.model.target import shown
from duckmail.services.messages.uploading import NewUpload


async def upload(call: Call, request: UploadMessage) -> Json:
    former, bimi = request.replace_previous, request.bimi
    new = NewUpload(
        request.composition(request.files),
        raw=request.raw,
        draft=request.draft,
        unseen=request.unseen,
        flagged=request.flagged,
        date=request.date,
        meta_data=request.meta_data,
        bimi=(bimi.domain, bimi.selector) if bimi else None,
        replaces=(former.mailbox, former.id) if former else None,
    )
    uploaded = await call.services.messages.uploading.upload(request.user, request.mailbox, new, call.by)
    return without_none(
        success=True,
        message={"id": uploaded.uid, "mailbox": uploaded.mailbox, "size": uploaded.size},
        previousDeleted=uploaded.replaced,
        previousDeleteError=uploaded.problem or None,
    )


async def submit_draft(call: Call, request: SubmitDraft) -> Json:
    sent = await call.services.messages.sending.submit_draft(
        request.user,
        request.mailbox,
        request.message,
        call.by,
        due=request.send_time,
        delete_files=request.delete_files,
    )
    if sent is None:
        return {"success": True}
    message = {"id": sent.uid, "mailbox": sent.mailbox, "size": sent.size}
    return {"success": True, "queueId": sent.queue_id, "message": message}


async def forward(call: Call, request: ForwardMessage) -> Json:
    done = await call.services.messages.outbound.forward(
        request.user,
        request.mailbox,
        request.message,
        call.by,
        addresses=request.addresses,
        target=request.target,
    )
    return without_none(
        success=True,
        queueId=done.queue_id or None,
        forwarded=[
            {"seq": sequence(number), "type": kind, "value": shown(value)}
            for number, (kind, value) in enumerate(done.targets, 1)
        ],
    )


async def delete_outbound(call: Call, request: DeleteOutbound) -> Json:
    try:
        await call.services.messages.outbound.remove(request.user, request.queue_id, call.by)
    except (NotFound, InUse) as error:  # clients of the contract know it by `success`
        return {"success": False, "error": error.text, "code": "NoSuchQueueEntry"}
    return {"success": True}


_MESSAGES = "/users/{user}/mailboxes/{mailbox}/messages"
_MESSAGE = f"{_MESSAGES}/{{message}}"
_NO_USER: Rows = {NotFound: (404, "UserNotFound")}

ROUTES: tuple[Route, ...] = (
    route(
        "POST",
        _MESSAGES,
        UploadMessage,
        upload,
        Permission("messages", "create"),
        errors=_NO_USER,
        body_limit=UPLOAD_LIMIT,
        raw="raw",
    ),
    route("POST", f"{_MESSAGE}/forward", ForwardMessage, forward, Permission("messages", "create"), errors=_NO_USER),
    route("POST", f"{_MESSAGE}/submit", SubmitDraft, submit_draft, Permission("messages", "create"), errors=_NO_USER),
    route(
        "DELETE", "/users/{user}/outbound/{queueId}", DeleteOutbound, delete_outbound, Permission("messages", "delete")
    ),
)
