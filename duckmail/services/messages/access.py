"""Whose mailbox it is: the check that every operation on messages begins with."""

from duckmail.model.account import Principal
from duckmail.model.mailbox import Mailbox
from duckmail.services.access import require_account
from storage.store import Store


async def owned_mailbox(store: Store, user: str, mailbox: str, by: Principal) -> Mailbox:
    """Raises: NoSuchMailbox, NotPermitted, Unavailable."""
    require_account(by, user)
    return await store.mailboxes.get(user, mailbox)
