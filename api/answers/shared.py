"""What answers of several tags have in common."""

from typing import Literal

from api.answers.base import Answer, Anything, Date, absent


class Forwards(Answer):
    allowed: int
    used: int
    ttl: int | bool


class SuccessResponse(Answer):
    success: bool


class Address(Answer):
    name: str
    address: str


class ReferenceWithAttachments(Answer):
    mailbox: str
    id: int
    action: Literal["reply", "replyAll", "forward"]
    attachments: bool | list[str] = absent()


class Bimi(Answer):
    domain: str
    selector: str = absent()


class ContentType(Answer):
    value: str
    params: Anything


class ListedAttachment(Answer):
    id: str
    filename: str
    contentType: str
    disposition: str
    transferEncoding: str
    related: bool
    sizeKb: int


class AnyMessagesResult(Answer):
    """What a listing says of a message, wherever it is."""

    mailbox: str
    thread: str
    threadMessageCount: int = absent()
    from_: Address = absent("from")
    to: list[Address]
    cc: list[Address]
    bcc: list[Address]
    messageId: str
    subject: str
    date: Date
    idate: Date = absent()
    intro: str = absent()
    attachments: bool
    attachmentsList: list[ListedAttachment]
    size: int
    seen: bool
    deleted: bool
    flagged: bool
    draft: bool
    answered: bool
    forwarded: bool
    references: list[str]
    bimi: Bimi = absent()
    contentType: ContentType
    encrypted: bool = absent()
    metaData: Anything = absent()
    headers: Anything = absent()


class GetMessagesResult(AnyMessagesResult):
    id: int


class ResolveIdResponse(Answer):
    success: bool
    id: str
