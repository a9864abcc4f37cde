"""The mailboxes of an account as LIST shows them: with the parents that exist in name only."""

from collections.abc import Iterable
from dataclasses import dataclass

from duckmail.model.mailbox import INBOX, SEPARATOR, Mailbox, parents


@dataclass(frozen=True, slots=True)
class Entry:
    """One name. `mailbox` is None for a name that is only the parent of others."""

    path: str
    mailbox: Mailbox | None
    has_children: bool
    has_subscribed_children: bool


def entries(mailboxes: Iterable[Mailbox]) -> list[Entry]:
    """All names, INBOX first, each parent before its children; hidden mailboxes are left out."""
    visible = {mailbox.path: mailbox for mailbox in mailboxes if not mailbox.hidden}
    with_children: set[str] = set()
    with_subscribed: set[str] = set()
    for path, mailbox in visible.items():
        above = parents(path)
        with_children.update(above)
        if mailbox.subscribed:
            with_subscribed.update(above)
    names = sorted(visible.keys() | with_children, key=_order)
    return [Entry(path, visible.get(path), path in with_children, path in with_subscribed) for path in names]


def _order(path: str) -> tuple[bool, list[str]]:
    levels = path.split(SEPARATOR)
    return levels[0] != INBOX, levels
