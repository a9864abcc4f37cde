"""The operations by method and path: their tag, their name and what they answer."""

from collections.abc import Mapping

from api.answers import (
    addresses,
    applicationpasswords,
    archive,
    audit,
    authentication,
    autoreplies,
    certs,
    dkim,
    domainaccess,
    domainaliases,
    export,
    filters,
    health,
    mailboxes,
    messages,
    settings,
    storage,
    submission,
    twofactorauth,
    users,
    webhooks,
)
from api.answers.base import Operation

BY_TAG: Mapping[str, Mapping[str, Operation]] = {
    "Addresses": addresses.OPERATIONS,
    "ApplicationPasswords": applicationpasswords.OPERATIONS,
    "Archive": archive.OPERATIONS,
    "Audit": audit.OPERATIONS,
    "Authentication": authentication.OPERATIONS,
    "Autoreplies": autoreplies.OPERATIONS,
    "Certs": certs.OPERATIONS,
    "DKIM": dkim.OPERATIONS,
    "DomainAccess": domainaccess.OPERATIONS,
    "DomainAliases": domainaliases.OPERATIONS,
    "Export": export.OPERATIONS,
    "Filters": filters.OPERATIONS,
    "Health": health.OPERATIONS,
    "Mailboxes": mailboxes.OPERATIONS,
    "Messages": messages.OPERATIONS,
    "Settings": settings.OPERATIONS,
    "Storage": storage.OPERATIONS,
    "Submission": submission.OPERATIONS,
    "TwoFactorAuth": twofactorauth.OPERATIONS,
    "Users": users.OPERATIONS,
    "Webhooks": webhooks.OPERATIONS,
}
EXTENSIONS = "Extensions"  # the tag of what the contract does not have

OPERATIONS: Mapping[str, Operation] = {key: row for rows in BY_TAG.values() for key, row in rows.items()}
TAGS: Mapping[str, str] = {key: tag for tag, rows in BY_TAG.items() for key in rows}
