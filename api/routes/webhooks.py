"""Webhooks: who is told what happens."""

from api.answer import Json
from api.errors import Rows
from api.paging import cursors, position
from api.route import Call, Route, route
from api.schemas.webhooks import CreateWebhook, ListWebhooks, OneWebhook
from duckmail.errors import NotFound
from duckmail.model.target import shown


async def list_webhooks(call: Call, request: ListWebhooks) -> Json:
    at = position(request)
    page = await call.services.webhooks.list(
        request.type, request.user, request.limit, call.by, after=at.after, before=at.before
    )
    return {
        "success": True,
        **request.given("type", "user"),
        "total": page.total,
        **cursors(at.page, [each.id for each in page.webhooks], page.has_previous, page.has_next),
        "results": [
            {"id": each.id, "type": each.type, "user": each.user or None, "url": shown(each.url)}
            for each in page.webhooks
        ],
    }


async def create(call: Call, request: CreateWebhook) -> Json:
    made = await call.services.webhooks.create(request.type, request.user, request.url, call.by)
    return {"success": True, "id": made}


async def delete(call: Call, request: OneWebhook) -> Json:
    await call.services.webhooks.delete(request.webhook, call.by)
    return {"success": True}


_CREATE: Rows = {NotFound: (404, "UserNotFound")}
_DELETE: Rows = {NotFound: (404, "WebhookNotFound")}

ROUTES: tuple[Route, ...] = (
    route("GET", "/webhooks", ListWebhooks, list_webhooks),
    route("POST", "/webhooks", CreateWebhook, create, errors=_CREATE),
    route("DELETE", "/webhooks/{webhook}", OneWebhook, delete, errors=_DELETE),
)
