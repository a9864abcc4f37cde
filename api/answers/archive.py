"""What operations of the tag Archive answer."""

from api.answers.base import Answer, Operation
from api.answers.shared import AnyMessagesResult


class GetArchivedMessagesResult(AnyMessagesResult):
    id: str


class GetArchivedMessagesResponse(Answer):
    success: bool
    total: int
    page: int
    previousCursor: str | bool
    nextCursor: str | bool
    results: list[GetArchivedMessagesResult]


class RestoreMessagesResponse(Answer):
    success: bool
    task: str


class RestoreMessageResponse(Answer):
    success: bool
    mailbox: str
    id: int


OPERATIONS = {
    "GET /users/{user}/archived/messages": Operation("getArchivedMessages", GetArchivedMessagesResponse),
    "POST /users/{user}/archived/restore": Operation("restoreMessages", RestoreMessagesResponse),
    "POST /users/{user}/archived/messages/{message}/restore": Operation("restoreMessage", RestoreMessageResponse),
}
