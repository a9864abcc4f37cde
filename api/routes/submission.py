"""Mail sent by the API."""

from api.answer import Json
from api.errors import Rows
from api.permissions import Permission
from api.route import UPLOAD_LIMIT, Call, Route, route
from api.schemas.writing import Submit
from duckmail.errors import NotFound
from duckmail.services.sending import Dispatch


async def submit(call: Call, request: Submit) -> Json:
    envelope = request.envelope
    how = Dispatch(
        mailbox=request.mailbox,
        is_draft=request.is_draft,
        draft=(request.draft.mailbox, request.draft.id) if request.draft else None,
        upload_only=request.upload_only,
        due=request.send_time,
        sender=envelope.from_.address if envelope and envelope.from_ else "",
        recipients=[each.address for each in envelope.to] if envelope and envelope.to is not None else None,
        meta_data=request.meta,
    )
    sent = await call.services.messages.sending.submit(request.user, request.composition(), how, call.by)
    message: Json = {"id": sent.uid or False, "mailbox": sent.mailbox, "queueId": sent.queue_id or False}
    return {"success": True, "message": message, **({} if sent.uid else {"overQuota": True})}


_NO_USER: Rows = {NotFound: (404, "UserNotFound")}

ROUTES: tuple[Route, ...] = (
    route(
        "POST",
        "/users/{user}/submit",
        Submit,
        submit,
        Permission("messages", "create"),
        errors=_NO_USER,
        body_limit=UPLOAD_LIMIT,
    ),
)
