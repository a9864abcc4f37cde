"""Messages that are copied or moved from one mailbox of an account to another.

A mailbox that encrypts gets no copy in plain: what comes there is encrypted before the transaction, and is a new
message in it. What the account itself wants holds for mail that arrives, not for what it has.
"""

from collections.abc import Container, Sequence

from duckmail.model.mailbox import Mailbox
from duckmail.model.message import CopyResult, Needs, StoredMessage
from duckmail.services.encryption import Encryption
from storage.changes.base import CHUNK
from storage.changes.move import Move
from storage.changes.rewriting import Rewritten
from storage.contents.prepared import PreparedContent
from storage.store import Store, key

WANTED = Needs.META | Needs.CONTENT


class Relocation:
    def __init__(self, store: Store) -> None:
        self._store = store
        self.encryption: Encryption[PreparedContent] = Encryption(store.contents, store.pool)

    async def key(self, target: Mailbox) -> str:
        """What messages that are copied or moved to `target` are encrypted to; "" when they stay as they are.

        Raises: NotFound (the account), Unavailable.
        """
        return (await self._store.users.get(target.user)).pub_key if target.encrypt_messages else ""

    async def move(
        self, user: str, source: str, target: Mailbox, uids: Sequence[int], most: int = CHUNK
    ) -> list[CopyResult]:
        """In transactions of at most `most` messages. For callers that know whose mailboxes they are.

        Raises: NotFound, LimitReached, Unavailable, CommitUnknown.
        """
        keys = key(user, source), key(user, target.id)
        pub_key = await self.key(target) if source != target.id else ""
        if pub_key:
            chunks: Sequence[Sequence[int]] = await self._store.messages.chunks(user, source, uids, most)
        else:
            chunks = [uids[start : start + most] for start in range(0, len(uids), most)]
        done = []
        for chunk in chunks:
            rewritten = await self.rewritten(user, source, chunk, pub_key)
            done.append(await self._store.committer.submit(Move(*keys, chunk, rewritten)))
        return done

    async def rewritten(self, user: str, source: str, uids: Sequence[int], pub_key: str) -> Rewritten:
        """Those of `uids` (ascending, of one transaction) in the mailbox `source` that get other contents where all is
        encrypted to `pub_key`, if that is not "". Raises: Unavailable.
        """
        if not pub_key:
            return {}
        drafts = frozenset(await self._store.listing.drafts(user, source, uids))
        found: dict[str, dict[str, object]] = {}
        async for messages in self._store.messages.fetch(user, source, uids, WANTED):
            found |= await self.encrypted(user, messages, pub_key, drafts)
        return found

    async def encrypted(
        self, user: str, messages: Sequence[StoredMessage], pub_key: str, drafts: Container[int] = ()
    ) -> dict[str, dict[str, object]]:
        """Of messages loaded with `WANTED`. `drafts`: UIDs. Raises: Unavailable."""
        found: dict[str, dict[str, object]] = {}
        for message in messages:
            if message.uid in drafts or message.content is None:
                continue
            content = await self.encryption.content(user, message.content, pub_key)
            if content is not message.content:
                found[message.id] = await self._store.rewrite(message, content)
        return found
