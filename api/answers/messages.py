"""What operations of the tag Messages answer."""

from typing import Literal

from pydantic import Field

from api.answers.base import Answer, Anything, Date, Operation, absent
from api.answers.shared import Address, ContentType, GetMessagesResult, SuccessResponse


class GetMessagesResponse(Answer):
    success: bool
    total: int
    page: int
    previousCursor: str | bool
    nextCursor: str | bool
    specialUse: str | None
    results: list[GetMessagesResult]


class UpdateMessageResponse(Answer):
    success: bool
    id: list[list[int]] = absent()
    mailbox: str = absent()
    updated: int = absent()


class DeleteMessagesInMailboxResponse(Answer):
    success: bool
    deleted: int
    errors: int


class UploadedMessage(Answer):
    id: int
    mailbox: str
    size: int


class UploadMessageResponse(Answer):
    success: bool
    message: UploadedMessage
    previousDeleted: bool = absent()
    previousDeleteError: str = absent()


class SearchMessagesResponse(Answer):
    success: bool
    query: str = absent()
    total: int
    page: int
    previousCursor: bool | str
    nextCursor: bool | str
    results: list[GetMessagesResult]


class SearchApplyMessagesResponse(Answer):
    success: bool
    scheduled: str
    existing: bool


class Rcpt(Answer):
    value: str
    formatted: str


class Envelope(Answer):
    from_: str = Field(alias="from")
    rcpt: list[Rcpt] = absent()


class List(Answer):
    id: Address = absent()
    unsubscribe: list[Address] = absent()


class MessageAttachment(Answer):
    id: str
    hash: str = absent()
    filename: str
    contentType: str
    disposition: str
    transferEncoding: str
    related: bool
    sizeKb: int
    size: int = absent()
    cid: str | None = absent()


class Tls(Answer):
    name: Anything
    version: Anything


class VerificationResults(Answer):
    tls: Tls | bool
    spf: Anything | bool
    dkim: Anything | bool


class MessageBimi(Answer):
    certified: bool = absent()
    url: str = absent()
    image: str = absent()
    type: Literal["VMC", "CMC"] = absent()


class GetMessageResponse(Answer):
    success: bool
    id: int
    mailbox: str
    user: str
    envelope: Envelope
    thread: str
    from_: Address = Field(alias="from")
    replyTo: list[Address] = absent()
    to: list[Address] = absent()
    cc: list[Address] = absent()
    bcc: list[Address] = absent()
    subject: str
    messageId: str
    date: Date
    idate: Date = absent()
    list_: List = absent("list")
    size: int
    expires: str = absent()
    seen: bool
    deleted: bool
    flagged: bool
    draft: bool
    html: list[str] = absent()
    text: str = absent()
    attachments: list[MessageAttachment] = absent()
    verificationResults: VerificationResults = absent()
    bimi: MessageBimi = absent()
    contentType: ContentType
    metaData: Anything = absent()
    references: list[str]
    files: list[Anything] = absent()
    outbound: list[Anything] = absent()
    forwardTargets: Anything = absent()
    reference: Anything = absent()
    answered: bool
    forwarded: bool
    encrypted: bool = absent()


class Forwarded(Answer):
    seq: str
    type: str
    value: str


class ForwardStoredMessageResponse(Answer):
    success: bool
    queueId: str = absent()
    forwarded: list[Forwarded] = absent()


class Message(Answer):
    id: int
    mailbox: str
    size: int


class SubmitStoredMessageResponse(Answer):
    success: bool
    queueId: str = absent()
    message: Message = absent()


class DeleteOutboundMessageResponse(Answer):
    success: bool
    error: str = absent()
    code: str = absent()


OPERATIONS = {
    "GET /users/{user}/mailboxes/{mailbox}/messages": Operation("getMessages", GetMessagesResponse),
    "PUT /users/{user}/mailboxes/{mailbox}/messages": Operation("updateMessage", UpdateMessageResponse),
    "DELETE /users/{user}/mailboxes/{mailbox}/messages": Operation(
        "deleteMessagesInMailbox", DeleteMessagesInMailboxResponse
    ),
    "POST /users/{user}/mailboxes/{mailbox}/messages": Operation("uploadMessage", UploadMessageResponse),
    "GET /users/{user}/search": Operation("searchMessages", SearchMessagesResponse),
    "POST /users/{user}/search": Operation("searchApplyMessages", SearchApplyMessagesResponse),
    "GET /users/{user}/mailboxes/{mailbox}/messages/{message}": Operation("getMessage", GetMessageResponse),
    "PUT /users/{user}/mailboxes/{mailbox}/messages/{message}": Operation(
        "updateMessagePathParams", UpdateMessageResponse
    ),
    "DELETE /users/{user}/mailboxes/{mailbox}/messages/{message}": Operation("deleteMessage", SuccessResponse),
    "GET /users/{user}/mailboxes/{mailbox}/messages/{message}/message.eml": Operation(
        "getMessageSource", media="message/rfc822"
    ),
    "GET /users/{user}/mailboxes/{mailbox}/messages/{message}/attachments/{attachment}": Operation(
        "getMessageAttachment", media="application/octet-stream"
    ),
    "POST /users/{user}/mailboxes/{mailbox}/messages/{message}/forward": Operation(
        "forwardStoredMessage", ForwardStoredMessageResponse
    ),
    "POST /users/{user}/mailboxes/{mailbox}/messages/{message}/submit": Operation(
        "submitStoredMessage", SubmitStoredMessageResponse
    ),
    "DELETE /users/{user}/outbound/{queueId}": Operation("deleteOutboundMessage", DeleteOutboundMessageResponse),
}
