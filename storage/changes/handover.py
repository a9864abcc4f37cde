"""MOVE where a message cannot stay what it is: to another account, or where not all of its flags may be set."""

from storage.changes.base import Change, Key, Outcome, Tx
from storage.changes.copy import Copy
from storage.changes.expunge import Expunge


class HandOver(Change):
    """What `copy` copies comes and goes from `source`, in one commit; it is kept in the archive of the account that it
    leaves. At most `CHUNK` messages."""

    def __init__(self, source: Key, copy: Copy) -> None:
        super().__init__(*copy.keys)
        self._source = source
        self._copy = copy

    async def apply(self, tx: Tx) -> Outcome:
        come = await self._copy.apply(tx)
        if not come.commit:
            return come
        gone = await Expunge(self._source, come.result.source, any_flags=True).apply(tx)
        return Outcome(come.result, (*come.deltas, *gone.deltas))
