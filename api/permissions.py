"""What each role may do and what each operation asks for, as tables.

Whose things a role with `OWN` touches is checked in the services.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from api.errors import ApiError


class Reach(Enum):
    OWN = "own"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Permission:
    """What a route asks for. `reach` ANY: a role that reaches only its own account is refused, even for itself."""

    resource: str
    action: str
    reach: Reach = Reach.OWN


_ALL = ("create", "read", "update", "delete")
_ASPS = ("create", "read", "delete")  # they cannot be changed


def _rows(reach: Reach, **resources: tuple[str, ...]) -> Mapping[tuple[str, str], Reach]:
    return {(resource, action): reach for resource, actions in resources.items() for action in actions}


_SERVER = _rows(
    Reach.ANY,
    addresses=_ALL,
    addresslisting=_ALL,
    asps=_ALL,
    authentication=_ALL,
    autoreplies=_ALL,
    certs=_ALL,
    dkim=_ALL,
    domainaccess=_ALL,
    domainaliases=_ALL,
    filters=_ALL,
    queue=("read", "update", "delete"),
    reports=("read",),
    tasks=("read",),
    trace=("read",),
    userlisting=_ALL,
    users=_ALL,
    webhooks=_ALL,
)
_MAIL = {"mailboxes": _ALL, "messages": _ALL, "attachments": _ALL, "storage": _ALL}

# Role -> (resource, action) -> whose. What is not in the table is refused: `audit`, `export` and `import` even to root,
# so that who administers the server does not read mail unseen. An account's own token lists no accounts and addresses.
ROLES: Mapping[str, Mapping[tuple[str, str], Reach]] = {
    "root": {**_SERVER, **_rows(Reach.ANY, settings=_ALL, **_MAIL)},
    "manager": _SERVER,
    "webmail": _rows(
        Reach.ANY,
        addresses=_ALL,
        asps=_ASPS,
        authentication=_ALL,
        autoreplies=_ALL,
        domainaccess=_ALL,
        filters=_ALL,
        users=("read", "update"),
        webhooks=_ALL,
        **_MAIL,
    ),
    "user": _rows(
        Reach.OWN,
        addresses=_ALL,
        asps=_ASPS,
        authentication=("create", "read"),
        autoreplies=_ALL,
        filters=_ALL,
        trace=("read",),
        users=("read", "update"),
        webhooks=("read",),
        **_MAIL,
    ),
    "auth": _rows(Reach.ANY, authentication=("create",)),
    "tokenAuth": _rows(Reach.ANY, authentication=("create",)),
    "attachments": _rows(Reach.ANY, attachments=("read",)),
    "audit": _rows(Reach.ANY, users=("read",), audit=_ALL),
    "auditclient": _rows(Reach.ANY, audit=("read",)),
    "export": _rows(Reach.ANY, **{"export": ("create",), "import": ("create",)}),
    "settings": _rows(Reach.ANY, settings=_ALL),
    "downloader": _rows(Reach.ANY, messages=("read",)),
}


def require(role: str, permission: Permission | None) -> None:
    """Raises: ApiError when the table does not let the role."""
    if permission is None:
        return
    reach = ROLES.get(role, {}).get((permission.resource, permission.action))
    if reach is None or (reach is Reach.OWN and permission.reach is Reach.ANY):
        raise ApiError(403, "MissingPrivileges", "Not enough privileges")


def _own(resource: str, action: str) -> Permission:
    return Permission(resource, action)


def _any(resource: str, action: str) -> Permission:
    return Permission(resource, action, Reach.ANY)


# What each operation of the contract asks for; None: no more than a valid token. Logging out and checking a one-time
# code ask for `update`: with `read`, the role `audit` could end sessions and guess codes.
OPERATIONS: Mapping[str, Permission | None] = {
    # Users
    "GET /users": _any("userlisting", "read"),
    "POST /users": _any("users", "create"),
    "GET /users/resolve/{username}": _any("users", "read"),
    "GET /users/{user}": _own("users", "read"),
    "PUT /users/{user}": _own("users", "update"),
    "DELETE /users/{user}": _any("users", "delete"),
    "PUT /users/{user}/logout": _own("users", "update"),
    "POST /users/{user}/quota/reset": _own("users", "update"),
    "POST /quota/reset": _any("users", "update"),
    # Export
    "POST /data/export": _any("export", "create"),
    "POST /data/import": _any("import", "create"),
    # Users
    "POST /users/{user}/password/reset": _any("users", "update"),
    "GET /users/{user}/restore": _any("users", "read"),
    "POST /users/{user}/restore": _any("users", "update"),
    # Addresses
    "GET /addresses": _any("addresslisting", "read"),
    "POST /users/{user}/addresses": _own("addresses", "create"),
    "GET /users/{user}/addresses": _own("addresses", "read"),
    "GET /users/{user}/addresses/{address}": _own("addresses", "read"),
    "DELETE /users/{user}/addresses/{address}": _own("addresses", "delete"),
    "PUT /users/{user}/addresses/{id}": _own("addresses", "update"),
    "GET /users/{user}/addressregister": _own("addresses", "read"),
    "POST /addresses/forwarded": _any("addresses", "create"),
    "PUT /addresses/forwarded/{id}": _any("addresses", "update"),
    "DELETE /addresses/forwarded/{address}": _any("addresses", "delete"),
    "GET /addresses/forwarded/{address}": _any("addresses", "read"),
    "GET /addresses/resolve/{address}": _any("addresses", "read"),
    "PUT /addresses/renameDomain": _any("addresses", "update"),
    # Mailboxes
    "GET /users/{user}/mailboxes": _own("mailboxes", "read"),
    "POST /users/{user}/mailboxes": _own("mailboxes", "create"),
    "GET /users/{user}/mailboxes/{mailbox}": _own("mailboxes", "read"),
    "PUT /users/{user}/mailboxes/{mailbox}": _own("mailboxes", "update"),
    "DELETE /users/{user}/mailboxes/{mailbox}": _own("mailboxes", "delete"),
    # Messages
    "GET /users/{user}/mailboxes/{mailbox}/messages": _own("messages", "read"),
    "PUT /users/{user}/mailboxes/{mailbox}/messages": _own("messages", "update"),
    "DELETE /users/{user}/mailboxes/{mailbox}/messages": _own("messages", "delete"),
    "POST /users/{user}/mailboxes/{mailbox}/messages": _own("messages", "create"),
    "GET /users/{user}/search": _own("messages", "read"),
    "POST /users/{user}/search": _own("messages", "update"),
    "GET /users/{user}/mailboxes/{mailbox}/messages/{message}": _own("messages", "read"),
    "PUT /users/{user}/mailboxes/{mailbox}/messages/{message}": _own("messages", "update"),
    "DELETE /users/{user}/mailboxes/{mailbox}/messages/{message}": _own("messages", "delete"),
    "GET /users/{user}/mailboxes/{mailbox}/messages/{message}/message.eml": _own("messages", "read"),
    "GET /users/{user}/mailboxes/{mailbox}/messages/{message}/attachments/{attachment}": _own("attachments", "read"),
    "POST /users/{user}/mailboxes/{mailbox}/messages/{message}/forward": _own("messages", "create"),
    "POST /users/{user}/mailboxes/{mailbox}/messages/{message}/submit": _own("messages", "create"),
    "DELETE /users/{user}/outbound/{queueId}": _own("messages", "delete"),
    # Archive
    "GET /users/{user}/archived/messages": _own("messages", "read"),
    "POST /users/{user}/archived/restore": _own("messages", "create"),
    "POST /users/{user}/archived/messages/{message}/restore": _own("messages", "create"),
    # Storage
    "POST /users/{user}/storage": _own("storage", "create"),
    "GET /users/{user}/storage": _own("storage", "read"),
    "DELETE /users/{user}/storage/{file}": _own("storage", "delete"),
    "GET /users/{user}/storage/{file}": _own("storage", "read"),
    # Filters
    "GET /filters": _any("filters", "read"),
    "GET /users/{user}/filters": _own("filters", "read"),
    "POST /users/{user}/filters": _own("filters", "create"),
    "GET /users/{user}/filters/{filter}": _own("filters", "read"),
    "DELETE /users/{user}/filters/{filter}": _own("filters", "delete"),
    "PUT /users/{user}/filters/{filter}": _own("filters", "update"),
    # DomainAccess
    "POST /domainaccess/{tag}/allow": _any("domainaccess", "create"),
    "GET /domainaccess/{tag}/allow": _any("domainaccess", "read"),
    "POST /domainaccess/{tag}/block": _any("domainaccess", "create"),
    "GET /domainaccess/{tag}/block": _any("domainaccess", "read"),
    "DELETE /domainaccess/{domain}": _any("domainaccess", "delete"),
    # ApplicationPasswords
    "GET /users/{user}/asps": _own("asps", "read"),
    "POST /users/{user}/asps": _own("asps", "create"),
    "GET /users/{user}/asps/{asp}": _own("asps", "read"),
    "DELETE /users/{user}/asps/{asp}": _own("asps", "delete"),
    # TwoFactorAuth
    "POST /users/{user}/2fa/totp/setup": _own("users", "update"),
    "POST /users/{user}/2fa/totp/enable": _own("users", "update"),
    "DELETE /users/{user}/2fa/totp": _own("users", "update"),
    "POST /users/{user}/2fa/totp/check": _own("users", "update"),
    "DELETE /users/{user}/2fa": _own("users", "update"),
    "PUT /users/{user}/2fa/custom": _own("users", "update"),
    "DELETE /users/{user}/2fa/custom": _own("users", "update"),
    "GET /users/{user}/2fa/webauthn/credentials": _own("users", "read"),
    "DELETE /users/{user}/2fa/webauthn/credentials/{credential}": _own("users", "update"),
    "POST /users/{user}/2fa/webauthn/registration-challenge": _own("users", "update"),
    "POST /users/{user}/2fa/webauthn/registration-attestation": _own("users", "update"),
    "POST /users/{user}/2fa/webauthn/authentication-challenge": _own("authentication", "create"),
    "POST /users/{user}/2fa/webauthn/authentication-assertion": _own("authentication", "create"),
    # Users
    "GET /users/{user}/updates": _own("users", "read"),
    # Authentication
    "POST /preauth": _any("authentication", "create"),
    "POST /authenticate": _any("authentication", "create"),
    "DELETE /authenticate": None,
    "GET /users/{user}/authlog": _own("authentication", "read"),
    "GET /users/{user}/authlog/{event}": _own("authentication", "read"),
    # Autoreplies
    "PUT /users/{user}/autoreply": _own("autoreplies", "update"),
    "GET /users/{user}/autoreply": _own("autoreplies", "read"),
    "DELETE /users/{user}/autoreply": _own("autoreplies", "delete"),
    # Submission
    "POST /users/{user}/submit": _own("messages", "create"),
    # Audit
    "POST /audit": _any("audit", "update"),
    "GET /audit/{audit}": _any("audit", "read"),
    "GET /audit/{audit}/export.mbox": _any("audit", "read"),
    # DomainAliases
    "GET /domainaliases": _any("domainaliases", "read"),
    "POST /domainaliases": _any("domainaliases", "create"),
    "GET /domainaliases/resolve/{alias}": _any("domainaliases", "read"),
    "GET /domainaliases/{alias}": _any("domainaliases", "read"),
    "DELETE /domainaliases/{alias}": _any("domainaliases", "delete"),
    # DKIM
    "GET /dkim": _any("dkim", "read"),
    "POST /dkim": _any("dkim", "create"),
    "GET /dkim/resolve/{domain}": _any("dkim", "read"),
    "GET /dkim/{dkim}": _any("dkim", "read"),
    "DELETE /dkim/{dkim}": _any("dkim", "delete"),
    # Certs
    "GET /certs": _any("certs", "read"),
    "POST /certs": _any("certs", "create"),
    "GET /certs/resolve/{servername}": _any("certs", "read"),
    "GET /certs/{cert}": _any("certs", "read"),
    "DELETE /certs/{cert}": _any("certs", "delete"),
    # Webhooks
    "GET /webhooks": _own("webhooks", "read"),
    "POST /webhooks": _any("webhooks", "create"),
    "DELETE /webhooks/{webhook}": _any("webhooks", "delete"),
    # Settings
    "GET /settings": _any("settings", "read"),
    "POST /settings/{key}": _any("settings", "create"),
    "GET /settings/{key}": _any("settings", "read"),
    # Health
    "GET /health": None,
}


def permission_of(method: str, path: str, extension: Permission | None = None) -> Permission | None:
    """What an operation asks for. `extension`: for one that the contract lacks, which has no row."""
    return OPERATIONS.get(f"{method} {path}", extension)
