"""MOVE where a message cannot stay what it is: to another account, or where not all of its flags may be set."""

from collections.abc import Sequence

from storage.changes.base import Change, Key, Outcome, Tx
from storage.changes.copy import Copy
from storage.changes.expunge import Expunge
from storage.changes.rewriting import Rewritten


class HandOver(Change):
    """A copy comes and the message goes, in one commit; it is kept in the archive of the account that it leaves.

    `uids`: ascending, at most `CHUNK`.
    """

    def __init__(
        self, source: Key, target: Key, uids: Sequence[int], quota: int, permitted: int, rewritten: Rewritten
    ) -> None:
        super().__init__(*dict.fromkeys((source, target)))
        self._source = source
        self._copy = Copy(source, target, uids, quota, permitted=permitted, rewritten=rewritten)

    async def apply(self, tx: Tx) -> Outcome:
        come = await self._copy.apply(tx)
        if not come.commit:
            return come
        gone = await Expunge(self._source, come.result.source, any_flags=True).apply(tx)
        return Outcome(come.result, (*come.deltas, *gone.deltas))
