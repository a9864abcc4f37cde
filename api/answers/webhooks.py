"""What operations of the tag Webhooks answer."""

from api.answers.base import Answer, Operation
from api.answers.shared import SuccessResponse


class GetWebhooksResult(Answer):
    id: str
    type: list[str]
    user: str | None
    url: str


class GetWebhooksResponse(Answer):
    success: bool
    total: int
    page: int
    previousCursor: str | bool
    nextCursor: str | bool
    results: list[GetWebhooksResult]


class CreateWebhookResponse(Answer):
    success: bool
    id: str


OPERATIONS = {
    "GET /webhooks": Operation("getWebhooks", GetWebhooksResponse),
    "POST /webhooks": Operation("createWebhook", CreateWebhookResponse),
    "DELETE /webhooks/{webhook}": Operation("deleteWebhook", SuccessResponse),
}
