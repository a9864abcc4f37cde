"""What operations of the tag Mailboxes answer."""

from api.answers.base import Answer, Operation, absent
from api.answers.shared import SuccessResponse


class GetMailboxesResponseResultsItem(Answer):
    id: str
    name: str
    path: str
    specialUse: str | None = absent()
    modifyIndex: int
    subscribed: bool
    retention: int = absent()
    hidden: bool
    encryptMessages: bool
    total: int = absent()
    unseen: int = absent()
    size: int = absent()


class GetMailboxesResponse(Answer):
    success: bool
    results: list[GetMailboxesResponseResultsItem]


class CreateMailboxResponse(Answer):
    success: bool
    id: str


class GetMailboxResponse(Answer):
    success: bool
    id: str
    name: str
    path: str
    specialUse: str | None = absent()
    modifyIndex: int
    subscribed: bool
    hidden: bool
    encryptMessages: bool
    total: int
    unseen: int


OPERATIONS = {
    "GET /users/{user}/mailboxes": Operation("getMailboxes", GetMailboxesResponse),
    "POST /users/{user}/mailboxes": Operation("createMailbox", CreateMailboxResponse),
    "GET /users/{user}/mailboxes/{mailbox}": Operation("getMailbox", GetMailboxResponse),
    "PUT /users/{user}/mailboxes/{mailbox}": Operation("updateMailbox", SuccessResponse),
    "DELETE /users/{user}/mailboxes/{mailbox}": Operation("deleteMailbox", SuccessResponse),
}
