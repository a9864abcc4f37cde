"""What each role may do, as a table. Whose things a role with `OWN` touches is checked in the services."""

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
    domainaccess=_ALL,
    domainaliases=_ALL,
    filters=_ALL,
    userlisting=_ALL,
    users=_ALL,
)
_MAIL = {"mailboxes": _ALL, "messages": _ALL, "attachments": _ALL}

# Role -> (resource, action) -> whose. What is not in the table is refused.
ROLES: Mapping[str, Mapping[tuple[str, str], Reach]] = {
    "root": {**_SERVER, **_rows(Reach.ANY, **_MAIL)},
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
        **_MAIL,
    ),
    "user": _rows(
        Reach.OWN,
        addresses=_ALL,
        addresslisting=("read",),
        asps=_ASPS,
        authentication=("create", "read"),
        autoreplies=_ALL,
        filters=_ALL,
        userlisting=("read",),
        users=("read", "update"),
        **_MAIL,
    ),
    "auth": _rows(Reach.ANY, authentication=("create",)),
    "tokenAuth": _rows(Reach.ANY, authentication=("create",)),
    "audit": _rows(Reach.ANY, users=("read",)),
    "attachments": _rows(Reach.ANY, attachments=("read",)),
    "downloader": _rows(Reach.ANY, messages=("read",)),
}


def require(role: str, permission: Permission | None) -> None:
    """Raises: ApiError when the table does not let the role."""
    if permission is None:
        return
    reach = ROLES.get(role, {}).get((permission.resource, permission.action))
    if reach is None or (reach is Reach.OWN and permission.reach is Reach.ANY):
        raise ApiError(403, "MissingPrivileges", "Not enough privileges")
