"""REPLACE (RFC 8508): one message leaves a mailbox and another one is appended, in one transaction."""

from duckmail.errors import NoSuchMessage
from storage.changes.append import Append, AppendGroup, Rejected
from storage.changes.base import Change, Key, Outcome, Tx
from storage.changes.expunge import Expunge
from storage.changes.remembered import Remembered
from storage.contents.contents import Contents


class Replace(Change):
    """`uid` of `source` goes, whatever its flags; what `append` brings comes. Both may be of one mailbox.

    The message goes first: what it takes of the quota is free for the other one.
    """

    def __init__(self, source: Key, uid: int, append: Append, contents: Contents) -> None:
        super().__init__(*dict.fromkeys((source, append.key)))
        self._source = source
        self._uid = uid
        self._append = append
        self._contents = contents

    async def apply(self, tx: Tx) -> Outcome:
        """Raises: NoSuchMessage: it is gone; nothing is appended then."""
        gone = await Expunge(self._source, [self._uid], any_flags=True).apply(tx)
        if not gone.commit:
            raise NoSuchMessage
        try:
            # Nothing is remembered from one transaction to the next: the mailbox has just been changed here.
            (come,) = await AppendGroup([self._append], self._contents, Remembered()).apply(tx)
        except Rejected as rejected:
            raise rejected.errors[self._append] from None
        return Outcome(come.result[0], (*gone.deltas, *come.deltas))
