"""Requests of the tag Users."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator

from api.paging import Paged
from api.schemas.base import Request, Traced
from api.schemas.types import (
    EMPTY_IS_ABSENT,
    boolean,
    comma_list,
    identifier,
    json_object,
    local_email,
    mailbox_path,
    moment,
    number,
    one_of,
    password,
    relay,
    target,
    text,
    unique,
    username,
    violation,
)
from duckmail.services.auth import SCOPES
from duckmail.services.pgp import LARGEST
from duckmail.services.sessions import LOGOUT

Flag = Annotated[bool, boolean(), EMPTY_IS_ABSENT]
Limit = Annotated[int, number(0)]
Id = Annotated[str, identifier()]
Username = Annotated[str, username()]
Password = Annotated[str, password()]

# Attributes of User and Limits that a request's attributes of the same name set.
ATTRIBUTES = (
    "name",
    "language",
    "retention",
    "targets",
    "spam_level",
    "quota",
    "recipients",
    "forwards",
    "filters",
    "imap_max_upload",
    "imap_max_download",
    "imap_max_connections",
    "pop3_max_download",
    "pop3_max_messages",
    "received_max",
    "from_whitelist",
    "tags",
    "upload_sent_messages",
    "disabled_scopes",
    "meta_data",
    "internal_data",
    "pub_key",
    "mta_relay",
    "encrypt_messages",
    "encrypt_forwarded",
)


class Mailboxes(Request):
    sent: Annotated[str, mailbox_path()] = ""
    trash: Annotated[str, mailbox_path()] = ""
    junk: Annotated[str, mailbox_path()] = ""
    drafts: Annotated[str, mailbox_path()] = ""


class FeatureFlags(Request):
    indexing: Flag = False


class Profile(Traced):
    """What creating and updating have in common."""

    hashed_password: Flag = False
    allow_unsafe: Flag = True
    name: Annotated[str, text(256, empty=True)] = ""
    language: Annotated[str, text(20, empty=True)] = ""
    retention: Limit = 0
    targets: Annotated[tuple[Annotated[str, target()], ...], Field(max_length=1000)] = ()
    spam_level: Annotated[int, number(0, 100)] = 50
    quota: Limit = 0
    recipients: Limit = 0
    forwards: Limit = 0
    filters: Limit = 0
    imap_max_upload: Limit = 0
    imap_max_download: Limit = 0
    imap_max_connections: Limit = 0
    pop3_max_download: Limit = Field(0, alias="pop3MaxDownload")
    pop3_max_messages: Limit = Field(0, alias="pop3MaxMessages")
    received_max: Limit = 0
    from_whitelist: Annotated[tuple[Annotated[str, text(128)], ...], Field(max_length=1000)] = ()
    tags: Annotated[tuple[Annotated[str, text(128)], ...], Field(max_length=1000)] = ()
    upload_sent_messages: Flag = False
    disabled_scopes: Annotated[tuple[Annotated[str, one_of(*SCOPES)], ...], AfterValidator(unique)] = ()
    meta_data: Annotated[str, json_object()] = "{}"
    internal_data: Annotated[str, json_object()] = "{}"
    pub_key: Annotated[str, text(LARGEST, empty=True)] = ""
    mta_relay: Annotated[str, relay()] = ""
    encrypt_messages: Flag = False
    encrypt_forwarded: Flag = False
    feature_flags: FeatureFlags = FeatureFlags()

    def attributes(self) -> dict[str, Any]:
        """The attributes of User and Limits that were given."""
        given = self.given(*ATTRIBUTES)
        if "indexing" in self.feature_flags.model_fields_set:
            given["indexing"] = self.feature_flags.indexing
        return given


class CreateUser(Profile):
    username: Username
    password: Password
    address: Annotated[str, local_email()] = ""
    empty_address: Flag = False
    require_password_change: Flag = False
    add_tags_to_address: Flag = False
    mailboxes: Mailboxes = Mailboxes()

    @field_validator("address")
    @classmethod
    def _no_wildcard(cls, value: str) -> str:
        if "*" in value:
            raise violation('"{label}" can not contain *')
        return value

    @field_validator("mailboxes")
    @classmethod
    def _distinct(cls, value: Mailboxes) -> Mailboxes:
        paths = [path for path in value.model_dump().values() if path]
        if len(set(paths)) != len(paths):
            raise violation('"{label}" contains a duplicate value')
        return value

    def folders(self) -> Mapping[str, str]:
        return {use: path for use, path in self.mailboxes.model_dump().items() if path}


class OneUser(Traced):
    user: Id


class UpdateUser(Profile):
    user: Id
    existing_password: Annotated[str, text(256), EMPTY_IS_ABSENT] = ""
    password: Password = ""
    disable2fa: Annotated[bool, boolean(), EMPTY_IS_ABSENT] = Field(False, alias="disable2fa")
    disabled: Flag = False
    suspended: Flag = False


class DeleteUser(OneUser):
    delete_after: Annotated[datetime | None, moment(), EMPTY_IS_ABSENT] = None


class ResetPassword(OneUser):
    valid_after: Annotated[datetime | None, moment(), EMPTY_IS_ABSENT] = None


class LogOut(OneUser):
    reason: Annotated[str, text(128), EMPTY_IS_ABSENT] = LOGOUT


class ResolveUser(Traced):
    username: Username


class ListUsers(Paged):
    query: Annotated[str, text(255, empty=True)] = ""
    forward: Annotated[str, text(255, empty=True)] = ""
    tags: Annotated[tuple[str, ...], comma_list(1024)] = ()
    required_tags: Annotated[tuple[str, ...], comma_list(1024)] = ()
    meta_data: Flag = False
    internal_data: Flag = False
