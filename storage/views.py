"""Views: what a process knows of the mailboxes in use, shared by all its sessions.

A view is three parallel arrays (uid, flags, modseq; 20 octets a message) that stand at one modseq of the mailbox. It
moves forward in two ways, both synchronous: by a change that this process committed, when that change is the very next
one (`Delta`), or by a sync, whose rows were read in one snapshot. A snapshot that is not newer than the view is
thrown away: the view has already seen all of it (P3).
"""

from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from duckmail.model.mailbox import Mailbox

CHANGES_REMEMBERED = 256
UIDS_REMEMBERED = 8_192  # in all of them


class ViewListener(Protocol):
    def view_changed(self, expunged: Sequence[int]) -> None:
        """The arrays have just changed; `expunged` are the UIDs that left them. Must neither block nor raise."""
        ...


@dataclass(frozen=True, slots=True)
class Delta:
    """What one committed transaction did to one mailbox. `mailbox`: as it stands after it.

    `added` and `changed`: (uid, flags) ascending; they get the mailbox's modseq. `expunged`: ascending UIDs.
    """

    mailbox: Mailbox
    added: Sequence[tuple[int, int]] = ()
    changed: Sequence[tuple[int, int]] = ()
    expunged: Sequence[int] = ()


@dataclass(slots=True)
class Rows:
    """(uid, flags, modseq) columns, ascending by uid, as a snapshot gave them."""

    uids: "array[int]" = field(default_factory=lambda: array("I"))
    flags: "array[int]" = field(default_factory=lambda: array("q"))
    modseqs: "array[int]" = field(default_factory=lambda: array("q"))


class View:
    def __init__(self, mailbox: Mailbox, rows: Rows) -> None:
        self.mailbox = mailbox
        self.uids = rows.uids
        self.flags = rows.flags
        self.modseqs = rows.modseqs
        self.gone = False
        self._listeners: list[ViewListener] = []
        self._changes: deque[tuple[int, list[int]]] = deque()
        self._remembered = 0
        self._changes_from = mailbox.modseq

    def position(self, uid: int) -> int:
        """The index of `uid` in the arrays, or -1."""
        index = bisect_left(self.uids, uid)
        return index if index < len(self.uids) and self.uids[index] == uid else -1

    def changed_since(self, modseq: int) -> list[int]:
        """Live UIDs with a larger modseq, ascending."""
        if modseq >= self.mailbox.modseq:
            return []
        if modseq >= self._changes_from:
            touched = {uid for at, uids in self._changes if at > modseq for uid in uids}
            positions = ((uid, self.position(uid)) for uid in touched)
            return sorted(uid for uid, index in positions if index >= 0 and self.modseqs[index] > modseq)
        return [uid for uid, at in zip(self.uids, self.modseqs, strict=True) if at > modseq]

    @property
    def octets(self) -> int:
        """Memory of the arrays."""
        return 20 * len(self.uids)

    def attach(self, listener: ViewListener) -> None:
        self._listeners.append(listener)

    def detach(self, listener: ViewListener) -> None:
        self._listeners.remove(listener)

    @property
    def in_use(self) -> bool:
        return bool(self._listeners)

    def apply(self, delta: Delta) -> bool:
        """Moves forward by one committed change; False when it is not the next one, so that a sync is due."""
        modseq = delta.mailbox.modseq
        if modseq <= self.mailbox.modseq:
            return True
        if modseq != self.mailbox.modseq + 1:
            return False
        for uid, mask in delta.changed:
            index = self.position(uid)
            if index >= 0:
                self.flags[index] = mask
                self.modseqs[index] = modseq
        for uid, mask in delta.added:
            self.uids.append(uid)
            self.flags.append(mask)
            self.modseqs.append(modseq)
        self._remove(delta.expunged)
        touched = [uid for uid, _ in delta.changed] + [uid for uid, _ in delta.added]
        self._moved_to(delta.mailbox, touched, delta.expunged)
        return True

    def catch_up(self, mailbox: Mailbox, changed: Rows, expunged: Iterable[int]) -> None:
        """Moves forward to a snapshot: rows with a modseq above this view's, and the UIDs expunged since."""
        if mailbox.modseq == self.mailbox.modseq:
            self.mailbox = mailbox  # path, subscribed and recentuid change without a modseq; uids and flags cannot
        if mailbox.modseq <= self.mailbox.modseq:
            return
        since = self.mailbox.modseq
        for uid, mask, modseq in zip(changed.uids, changed.flags, changed.modseqs, strict=True):
            if modseq <= since:
                continue
            index = self.position(uid)
            if index >= 0:
                self.flags[index] = mask
                self.modseqs[index] = modseq
            elif not self.uids or uid > self.uids[-1]:
                self.uids.append(uid)
                self.flags.append(mask)
                self.modseqs.append(modseq)
        removed = [uid for uid in sorted(set(expunged)) if self.position(uid) >= 0]
        self._remove(removed)
        self._moved_to(mailbox, list(changed.uids), removed)

    def rebuild(self, mailbox: Mailbox, rows: Rows) -> None:
        """Replaces everything: the tombstones needed to catch up are pruned."""
        if mailbox.modseq <= self.mailbox.modseq:
            return
        alive = set(rows.uids)
        removed = [uid for uid in self.uids if uid not in alive]
        self.uids, self.flags, self.modseqs = rows.uids, rows.flags, rows.modseqs
        self._changes.clear()
        self._remembered = 0
        self._changes_from = mailbox.modseq
        self.mailbox = mailbox
        self._notify(removed)

    def bury(self) -> None:
        """The mailbox was deleted."""
        self.gone = True
        self._notify(())

    def _remove(self, expunged: Sequence[int]) -> None:
        """Linear in the view for any number of UIDs."""
        doomed = [index for index in (self.position(uid) for uid in expunged) if index >= 0]
        if len(doomed) <= 4:
            for index in reversed(doomed):
                del self.uids[index], self.flags[index], self.modseqs[index]
        elif doomed:
            self.uids = _without(self.uids, doomed)
            self.flags = _without(self.flags, doomed)
            self.modseqs = _without(self.modseqs, doomed)

    def _moved_to(self, mailbox: Mailbox, touched: list[int], expunged: Sequence[int]) -> None:
        self._changes.append((mailbox.modseq, touched))
        self._remembered += len(touched)
        while len(self._changes) > CHANGES_REMEMBERED or self._remembered > UIDS_REMEMBERED:
            self._changes_from, forgotten = self._changes.popleft()
            self._remembered -= len(forgotten)
        self.mailbox = mailbox
        self._notify(expunged)

    def _notify(self, expunged: Sequence[int]) -> None:
        for listener in list(self._listeners):
            listener.view_changed(expunged)

    def in_range(self, first: int, last: int) -> Sequence[int]:
        """Live UIDs from `first` to `last`, both included."""
        return self.uids[bisect_left(self.uids, first) : bisect_right(self.uids, last)]


def _without(values: "array[int]", doomed: Sequence[int]) -> "array[int]":
    kept = array(values.typecode)
    start = 0
    for index in doomed:
        kept.extend(values[start:index])
        start = index + 1
    kept.extend(values[start:])
    return kept
