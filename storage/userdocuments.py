"""Documents of accounts, and back: which field has which attribute of `User`.

`unameview` and `tagsview` are what user names and tags are found by.
"""

from collections.abc import Mapping

from bson.int64 import Int64

from duckmail.model.account import Limits, Standing, User
from duckmail.model.credentials import ScramVerifier
from storage.mongo.client import Document
from storage.scram import to_scram, to_scram_fields

# Attribute of `User` -> field of the document, for all that is stored as it is.
FIELDS: Mapping[str, str] = {
    "username": "username",
    "name": "name",
    "address": "address",
    "language": "language",
    "password_hash": "password",
    "retention": "retention",
    "spam_level": "spamLevel",
    "activated": "activated",
    "disabled": "disabled",
    "suspended": "suspended",
    "auth_version": "authVersion",
    "session_version": "sessionVersion",
    "logout_reason": "logoutReason",
    "created": "created",
    "last_login": "lastLogin",
    "temp_password_hash": "tempPassword",
    "temp_password_expires": "tempPasswordExpires",
    "temp_password_starts": "tempPasswordStarts",
    "upload_sent_messages": "uploadSentMessages",
    "indexing": "indexing",
    "filtered": "filtered",
    "autoreply": "autoreply",
    "pub_key": "pubKey",
    "mta_relay": "mtaRelay",
    "encrypt_messages": "encryptMessages",
    "encrypt_forwarded": "encryptForwarded",
    "meta_data": "metaData",
    "internal_data": "internalData",
}
LISTS: Mapping[str, str] = {
    "tags": "tags",
    "disabled_scopes": "disabledScopes",
    "targets": "targets",
    "from_whitelist": "fromWhitelist",
    "enabled_2fa": "enabled2fa",
    "key_info": "keyInfo",
}
LIMITS: Mapping[str, str] = {
    "quota": "quota",
    "messages": "maxMessages",
    "recipients": "recipients",
    "forwards": "forwards",
    "filters": "filters",
    "imap_max_upload": "imapMaxUpload",
    "imap_max_download": "imapMaxDownload",
    "imap_max_connections": "imapMaxConnections",
    "pop3_max_download": "pop3MaxDownload",
    "pop3_max_messages": "pop3MaxMessages",
    "received_max": "receivedMax",
}
STANDING_FIELDS = ("disabled", "suspended", "authVersion", "sessionVersion", "disabledScopes", "logoutReason")


def username_view(username: str) -> str:
    """The comparison form of a user name: lower case, without dots."""
    return username.lower().replace(".", "")


def to_user(document: Document, defaults: Limits | None = None) -> User:
    values: Document = {name: document[key] for name, key in FIELDS.items() if key in document}
    values |= {name: tuple(document[key]) for name, key in LISTS.items() if key in document}
    limits = Limits(**{name: int(document[key]) for name, key in LIMITS.items() if key in document})
    values["scram"] = to_scram(document)
    for name in ("retention", "auth_version", "session_version"):
        values[name] = int(values.get(name, 0))
    return User(id=str(document["_id"]), limits=limits, defaults=defaults or Limits(), **values)


def to_fields(changes: Mapping[str, object]) -> Document:
    """The document fields of changed `User` and `Limits` attributes. Raises: KeyError for another name."""
    fields: Document = {}
    for name, value in changes.items():
        if name == "scram":
            fields[name] = to_scram_fields(value) if isinstance(value, ScramVerifier) else None
        elif name in LISTS:
            fields[LISTS[name]] = list(value) if isinstance(value, tuple | list) else []
        else:
            key = LIMITS[name] if name in LIMITS else FIELDS[name]
            fields[key] = Int64(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if "tags" in fields:
        fields["tagsview"] = [tag.lower() for tag in fields["tags"]]
    if "username" in fields:
        fields["unameview"] = username_view(fields["username"])
    return fields


def to_standing(document: Document) -> Standing:
    return Standing(
        active=not (document.get("disabled") or document.get("suspended")),
        auth_version=int(document.get("authVersion", 0)),
        session_version=int(document.get("sessionVersion", 0)),
        disabled_scopes=tuple(document.get("disabledScopes", ())),
        logout_reason=document.get("logoutReason", ""),
    )
