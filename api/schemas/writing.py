"""Requests that carry a message: of the tag Submission, and those of the tag Messages that write."""

from typing import Annotated

from pydantic import Field, PlainValidator, ValidationError

from api.schemas.base import Lenient, Request, Traced
from api.schemas.messages import Flag, Id, Moment, Uid, attachment_number
from api.schemas.storage import Octets
from api.schemas.types import (
    EMPTY_IS_ABSENT,
    boolean,
    domain,
    identifier,
    json_object,
    local_email,
    number,
    one_of,
    text,
    violation,
)
from duckmail.mime.written import ENCODINGS
from duckmail.model.composition import Action, Composition, NewAttachment, Person, Reference

MAX_TEXT = 1 << 20  # characters, of text and HTML each
MAX_HEADER = 100 << 10  # characters of a field
MOST_PEOPLE = 10_000  # in one list; of how many may be written to the services say
MOST_ITEMS = 500

Name = Annotated[str, text(255, empty=True)]
Text = Annotated[str, text(MAX_TEXT, empty=True), Field(repr=False)]
Text255 = Annotated[str, text(255), EMPTY_IS_ABSENT]
MetaData = Annotated[str, json_object(), EMPTY_IS_ABSENT]


class Address(Request):
    name: Name = ""
    address: Annotated[str, local_email()]

    @property
    def person(self) -> Person:
        return self.name, self.address


def lenient_addresses() -> PlainValidator:
    """A list of addresses; those that are none are left out, as people's address books hold some."""

    def check(value: object) -> tuple[Address, ...]:
        if not isinstance(value, list | tuple):
            raise violation('"{label}" must be an array')
        if len(value) > MOST_PEOPLE:
            raise violation('"{label}" contains too many items')
        found = []
        for index, each in enumerate(value):
            if not isinstance(each, dict):
                raise violation('"{label}" must be of type object', at=index)
            try:
                found.append(Address.model_validate(each))
            except ValidationError:
                continue
        return tuple(found)

    return PlainValidator(check, json_schema_input_type=list[Address])


def chosen_attachments() -> PlainValidator:
    """`true`, `false`, or a list of attachment ids, as their numbers."""
    as_boolean, as_number = boolean().func, attachment_number().func

    def check(value: object) -> bool | tuple[int, ...]:
        if isinstance(value, list | tuple):
            return tuple(int(as_number(each)) for each in value[:MOST_ITEMS])  # type: ignore[call-arg]
        return bool(as_boolean(value))  # type: ignore[call-arg]

    return PlainValidator(check, json_schema_input_type=bool | list[str])


People = Annotated[tuple[Address, ...], Field(max_length=MOST_PEOPLE)]


class Header(Request):
    key: Annotated[str, text(255)]
    value: Annotated[str, text(MAX_HEADER, empty=True)] = ""


class Attachment(Request):
    content: Octets
    filename: Text255 = ""
    content_type: Text255 = ""
    encoding: Annotated[str, one_of(*ENCODINGS), EMPTY_IS_ABSENT] = "base64"
    content_transfer_encoding: Text255 = ""
    content_disposition: Annotated[str, one_of("inline", "attachment"), EMPTY_IS_ABSENT] = "attachment"
    cid: Text255 = ""

    @property
    def new(self) -> NewAttachment:
        return NewAttachment(
            self.content,
            self.encoding,
            self.content_type,
            self.filename,
            self.cid,
            self.content_disposition == "inline",
            self.content_transfer_encoding,
        )


class Referred(Request):
    mailbox: Id
    id: Uid
    action: Annotated[str, one_of(*(action.value for action in Action))]
    attachments: Annotated[bool | tuple[int, ...], chosen_attachments()] = False

    @property
    def reference(self) -> Reference:
        return Reference(self.mailbox, self.id, Action(self.action), self.attachments)


class Written(Request):
    """What a message is made of."""

    from_: Address | None = Field(None, alias="from")
    reply_to: Address | None = None
    to: Annotated[tuple[Address, ...], lenient_addresses()] = ()
    cc: People = ()
    bcc: People = ()
    headers: Annotated[tuple[Header, ...], Field(max_length=MOST_ITEMS)] = ()
    subject: Annotated[str | None, text(2048, empty=True)] = None
    text: Text = ""
    html: Text = ""
    attachments: Annotated[tuple[Attachment, ...], Field(max_length=MOST_ITEMS)] = ()
    reference: Referred | None = None

    def composition(self, files: tuple[str, ...] = ()) -> Composition:
        return Composition(
            sender=self.from_.person if self.from_ else None,
            reply_to=self.reply_to.person if self.reply_to else None,
            to=[each.person for each in self.to],
            cc=[each.person for each in self.cc],
            bcc=[each.person for each in self.bcc],
            headers=[(each.key, each.value) for each in self.headers],
            subject=self.subject,
            text=self.text,
            html=self.html,
            attachments=[each.new for each in self.attachments],
            files=files,
            reference=self.reference.reference if self.reference else None,
        )


class Former(Request):
    mailbox: Annotated[str, identifier(), EMPTY_IS_ABSENT] = ""
    id: Uid


class Bimi(Request):
    domain: Annotated[str, domain()]
    selector: Text255 = ""


class UploadMessage(Traced, Written):
    user: Id
    mailbox: Id
    date: Moment = None
    unseen: Flag = False
    flagged: Flag = False
    draft: Flag = False
    raw: Annotated[str | bytes | None, Octets.__metadata__[0], Field(repr=False)] = None
    files: Annotated[tuple[Id, ...], Field(max_length=MOST_ITEMS)] = ()
    meta_data: MetaData = ""
    replace_previous: Former | None = None
    bimi: Bimi | None = None


class ForwardMessage(Traced):
    user: Id
    mailbox: Id
    message: Uid
    target: Annotated[int, number(1, 1000)] = 0
    addresses: Annotated[tuple[Annotated[str, local_email()], ...], Field(max_length=100)] = ()


class SubmitDraft(Traced):
    user: Id
    mailbox: Id
    message: Uid
    delete_files: Flag = False
    send_time: Moment = None


class DeleteOutbound(Traced):
    user: Id
    queue_id: Annotated[str, text(24, least=18)]


class SomeDraft(Request):
    mailbox: Id
    id: Uid


class Envelope(Request):
    from_: Address | None = Field(None, alias="from")
    to: Annotated[tuple[Address, ...] | None, Field(max_length=MOST_PEOPLE)] = None


class Submit(Written, Lenient):
    user: Id
    mailbox: Annotated[str, identifier(), EMPTY_IS_ABSENT] = ""
    meta: MetaData = ""
    is_draft: Flag = False
    draft: SomeDraft | None = None
    send_time: Moment = None
    upload_only: Flag = False
    envelope: Envelope | None = None
