"""Whose things a principal may touch: the one check below all edges (P7)."""

from duckmail.errors import NotPermitted
from duckmail.model.account import Principal

# Roles that act for any account, within what their edge lets them do; every other role acts for its own account alone.
SERVER_ROLES = frozenset(
    {
        "root",
        "manager",
        "webmail",
        "auth",
        "tokenAuth",
        "attachments",
        "audit",
        "auditclient",
        "export",
        "settings",
        "downloader",
    }
)
# The server itself: the command line, tasks, and the API's server roles after their own table said yes.
SYSTEM = Principal(user="", username="", role="root")


def require_account(by: Principal, user: str) -> None:
    """`by` may act for the account `user`: it is its own, or `by` is a server role.

    Raises:
        NotPermitted
    """
    if by.role not in SERVER_ROLES and (not by.user or by.user != user):
        raise NotPermitted("Not enough privileges")


def require_server(by: Principal) -> None:
    """`by` may act on accounts that are not its own. Raises: NotPermitted."""
    if by.role not in SERVER_ROLES:
        raise NotPermitted("Not enough privileges")
