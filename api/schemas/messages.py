"""Requests of the tag Messages."""

import re
from datetime import datetime
from typing import Annotated

from pydantic import Field, PlainValidator, model_validator
from pydantic.alias_generators import to_snake

from api.paging import MAX_PAGE, Paged
from api.schemas.base import Lenient, Request, Traced
from api.schemas.described import described
from api.schemas.types import EMPTY_IS_ABSENT, boolean, identifier, json_object, moment, number, text, violation
from duckmail.model.ranges import Ranges

Flag = Annotated[bool, boolean(), EMPTY_IS_ABSENT]
Maybe = Annotated[bool | None, boolean(), EMPTY_IS_ABSENT]
Id = Annotated[str, identifier()]
Uid = Annotated[int, number(1, 2**32 - 1)]
Moment = Annotated[datetime | None, moment(), EMPTY_IS_ABSENT]
LARGEST_UID = 2**32 - 1
MAX_RANGE = 20_000  # characters
_RANGE = re.compile(r"[0-9]{1,20}(?:,[0-9]{1,20})*|[0-9]{1,20}:(?:[0-9]{1,20}|\*)", re.ASCII)
MAX_HEADERS = 1024  # characters of a list of header names


def headers() -> PlainValidator:
    """Names of header fields between commas, in lower case; True for all of them, False for none."""
    as_boolean, as_text = boolean().func, text(MAX_HEADERS, empty=True).func

    def check(value: object) -> tuple[str, ...] | bool:
        if isinstance(value, bool | int):
            return bool(as_boolean(value))  # type: ignore[call-arg]
        found = str(as_text(value)).lower()  # type: ignore[call-arg]
        if found in ("true", "false"):
            return found == "true"
        return tuple(name for name in (name.strip() for name in found.split(",")) if name)

    return described(check, anyOf=[{"type": "string", "maxLength": MAX_HEADERS}, {"type": "boolean"}])


def attachment_number() -> PlainValidator:
    """`ATT00001` as 1; case does not matter."""

    def check(value: object) -> int:
        found = value.upper() if isinstance(value, str) else ""
        if not found:
            raise violation('"{label}" is not allowed to be empty')
        digits = found.removeprefix("ATT")
        known = found.startswith("ATT") and digits.isascii() and digits.isdecimal() and len(digits) <= 9
        return int(digits) if known else 0

    return described(check, type="string", pattern="^[Aa][Tt][Tt][0-9]{1,9}$")


Headers = Annotated[tuple[str, ...] | bool, headers(), EMPTY_IS_ABSENT]
# What is not "asc" is descending, whatever it is.
Order = Annotated[str, text(255), EMPTY_IS_ABSENT]
Limit = Annotated[int, number(1, MAX_PAGE), EMPTY_IS_ABSENT]


def message_range() -> PlainValidator:
    """`5`, `1,5,7`, `3:9`, `3:*` or `all`, as the UIDs they mean."""

    def check(value: object) -> Ranges:
        if not isinstance(value, str):
            raise violation('"{label}" must be a string')
        if not value:
            raise violation('"{label}" is not allowed to be empty')
        if value.lower() == "all":
            return Ranges(((1, LARGEST_UID),))
        if len(value) > MAX_RANGE or not _RANGE.fullmatch(value):
            raise violation(
                f'"{{label}}" with value "{value[:128]}" fails to match the required pattern: '
                "/^\\d+(,\\d+)*$|^\\d+:(\\d+|\\*)$/i"
            )
        return _ranges(value)

    return described(check, type="string", maxLength=MAX_RANGE, pattern=f"^(?:{_RANGE.pattern}|all)$")


def _ranges(value: str) -> Ranges:
    first, colon, last = value.partition(":")
    if colon:
        # `*` is no upper bound: unlike in IMAP it never means the last message.
        pairs = [(int(first), LARGEST_UID)] if last == "*" else [(int(first), int(last))]
    else:
        pairs = [(int(number), int(number)) for number in value.split(",")]
    limited = ((max(min(pair), 1), min(max(pair), LARGEST_UID)) for pair in pairs)
    return Ranges.from_pairs(pair for pair in limited if pair[0] <= pair[1])


class ListMessages(Paged):
    user: Id
    mailbox: Id
    limit: Limit = 20
    order: Order = "desc"
    unseen: Maybe = None
    meta_data: Flag = False
    thread_counters: Flag = False
    include_headers: Headers = False


class OneMessage(Traced):
    user: Id
    mailbox: Id
    message: Uid


class ReadMessage(OneMessage):
    replace_cid_links: Flag = False
    mark_as_seen: Flag = False


class ReadAttachment(Request):
    user: Id
    mailbox: Id
    message: Uid
    attachment: Annotated[int, attachment_number()]
    send_as_string: Flag = False


class UpdateMessages(Traced):
    user: Id
    mailbox: Id
    message: Annotated[Ranges, message_range()]
    move_to: Annotated[str, identifier()] = ""
    seen: Maybe = None
    deleted: Maybe = None
    flagged: Maybe = None
    draft: Maybe = None
    expires: Moment = None
    meta_data: Annotated[str | None, json_object()] = None


class DeleteMessages(Traced):
    user: Id
    mailbox: Id
    in_background: Flag = Field(False, alias="async")
    skip_archive: Flag = False


class Either(Request):
    query: Annotated[str, text(255), EMPTY_IS_ABSENT] = ""
    sender: Annotated[str, text(256), EMPTY_IS_ABSENT] = Field("", alias="from")
    recipient: Annotated[str, text(256), EMPTY_IS_ABSENT] = Field("", alias="to")
    subject: Annotated[str, text(256), EMPTY_IS_ABSENT] = ""


class SearchFilters(Lenient):
    """What both forms of a search have. Flags narrow only when they are true."""

    user: Id
    q: Annotated[str, text(1024), EMPTY_IS_ABSENT] = ""
    mailbox: Annotated[str, identifier(), EMPTY_IS_ABSENT] = ""
    id: Annotated[Ranges | None, message_range(), EMPTY_IS_ABSENT] = None
    thread: Annotated[str, identifier(), EMPTY_IS_ABSENT] = ""
    either: Either = Field(default_factory=lambda: Either.model_validate({}), alias="or")
    query: Annotated[str, text(255), EMPTY_IS_ABSENT] = ""
    datestart: Moment = None
    dateend: Moment = None
    sender: Annotated[str, text(256), EMPTY_IS_ABSENT] = Field("", alias="from")
    recipient: Annotated[str, text(256), EMPTY_IS_ABSENT] = Field("", alias="to")
    subject: Annotated[str, text(256), EMPTY_IS_ABSENT] = ""
    min_size: Annotated[int | None, number(0), EMPTY_IS_ABSENT] = None
    max_size: Annotated[int | None, number(0), EMPTY_IS_ABSENT] = None
    attachments: Flag = False
    flagged: Flag = False
    unseen: Flag = False
    seen: Flag = False
    include_headers: Headers = False
    searchable: Flag = False

    @model_validator(mode="after")
    def _id_needs_mailbox(self) -> "SearchFilters":
        if self.id is not None and not (self.mailbox or self.searchable):
            raise violation('"{label}" is required', at="mailbox")
        return self


class Search(SearchFilters, Paged):
    limit: Limit = 20
    order: Annotated[str, text(255), EMPTY_IS_ABSENT] = ""
    thread_counters: Flag = False


class SearchAction(Request):
    move_to: Annotated[str, identifier()] = ""
    seen: Maybe = None
    flagged: Maybe = None
    delete: Flag = False

    @model_validator(mode="after")
    def _delete_alone(self) -> "SearchAction":
        others = [name for name in ("moveTo", "seen", "flagged") if to_snake(name) in self.model_fields_set]
        if self.delete and others:
            raise violation(f"When 'delete' is true, no other fields ([{', '.join(others)}]) can be set")
        return self


class ActOnSearch(SearchFilters):
    action: SearchAction
