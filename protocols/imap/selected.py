"""What one session has told its client about the selected mailbox, as arithmetic on the shared view.

The client numbers the messages it was told of: UIDs below `_uidnext`, live ones from the view merged with the few that
are gone but whose EXPUNGE could not be sent yet. Both are sorted, so numbers are found by bisection and a session
holds no list of its own (H5). Nothing here writes or waits: `updates` gives what the client must learn, in order.
"""

import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from duckmail.model import flags
from duckmail.model.ranges import Ranges
from duckmail.model.sharing import flag_mask
from protocols.imap.wire.sequence import STAR, SequenceSet
from storage.views import View

NEVER_RECENT = 1 << 32  # `recent_from` of a session in which nothing is, nor is told to be (RFC 9051 §2.3.2)


@dataclass(frozen=True, slots=True)
class Expunge:
    """`* n EXPUNGE`: later numbers shift down by one."""

    number: int


@dataclass(frozen=True, slots=True)
class Vanished:
    """`* VANISHED uids`, in place of EXPUNGE (RFC 7162 §3.2.10)."""

    uids: Ranges


@dataclass(frozen=True, slots=True)
class Exists:
    count: int


@dataclass(frozen=True, slots=True)
class RecentCount:
    count: int


@dataclass(frozen=True, slots=True)
class Keywords:
    """The mailbox's keyword table grew: FLAGS and PERMANENTFLAGS go before any use of it. Or the session's rights have
    changed (RFC 4314 §5.1.1)."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FlagUpdate:
    """The flags of an announced message are not what the client was told."""

    uid: int


@dataclass(frozen=True, slots=True)
class Batches:
    """What a client asked UIDBATCHES for; `last` is 0 when it asked for all (RFC 10022 §3.1)."""

    size: int
    first: int
    last: int


Update = Expunge | Vanished | Exists | RecentCount | Keywords | FlagUpdate


class UnknownNumber(Exception):
    """A command named a message sequence number that this session was never told of."""


class UidRequired(Exception):
    """A command used message sequence numbers under UIDONLY (RFC 9586 §3)."""


class Selected:
    """The selected mailbox of one session, which passes on what its view says.

    `recent_from`: messages with this UID or a higher one are \\Recent in this session. `vanished`: expunges are told
    by UID. `uid_only`: so is everything, and only UIDs are taken (RFC 9586 §3). `user`: whose rights count, the owner's
    if not given.
    """

    def __init__(
        self,
        view: View,
        *,
        read_only: bool,
        recent_from: int,
        vanished: bool = False,
        uid_only: bool = False,
        user: str = "",
    ) -> None:
        self.view = view
        self._user = user or view.mailbox.user
        self.read_only = read_only
        self.recent_from = recent_from
        self.vanished = vanished or uid_only
        self.uid_only = uid_only
        self._uidnext = view.mailbox.uidnext  # UIDs below it were announced
        self._modseq = view.mailbox.modseq  # flags were announced up to it
        self._keywords = len(view.mailbox.keywords)
        self._permitted = self.permitted
        self.saved = array("I")  # RFC 5182: UIDs that `$` stands for; ascending
        self.batches: dict[Batches, tuple[int, int]] = {}  # asked for -> messages and uidnext at that time
        self._expunged: list[int] = []  # announced, gone, EXPUNGE not sent; ascending
        self._settled = 0  # while there are such: the modseq below the first of them
        self._told: dict[int, int] = {}  # uid -> modseq at which this command has already told the flags
        self._names: dict[int, str] = {}  # mask -> flag names, for the keywords announced

    def view_changed(self, expunged: Sequence[int]) -> None:
        """Called by the view right after its arrays changed."""
        known = [uid for uid in expunged if uid < self._uidnext]
        if known:
            if not self._expunged:
                self._settled = self._modseq  # what had gone by then was told
            self._expunged = sorted(self._expunged + known)  # two runs: linear

    @property
    def rights(self) -> str:
        """What the session may do with the mailbox, as its view stands (RFC 4314)."""
        return self.view.mailbox.rights(self._user)

    @property
    def permitted(self) -> int:
        """The bits of the flags that the session may change, as its rights are now."""
        return 0 if self.read_only else flag_mask(self.rights)

    # Numbers

    @property
    def keywords_full(self) -> bool:
        """The mailbox takes no more keywords."""
        return len(self.view.mailbox.keywords) >= flags.MAX_KEYWORDS

    @property
    def exists(self) -> int:
        """How many messages the client knows of."""
        return bisect_left(self.view.uids, self._uidnext) + len(self._expunged)

    @property
    def uidnext(self) -> int:
        """Messages with a UID below it were announced."""
        return self._uidnext

    @property
    def modseq(self) -> int:
        """The client was told all changes of flags up to it, and of expunges those that are not in `expunged`."""
        return self._modseq

    @property
    def settled(self) -> int:
        """The highest modseq with which the client may come back without missing an expunge (RFC 7162 §3.2)."""
        return self._settled if self._expunged else self._modseq

    @property
    def tells_recent(self) -> bool:
        return self.recent_from < NEVER_RECENT

    @property
    def recent(self) -> int:
        """How many of them are \\Recent."""
        if self.recent_from >= self._uidnext:
            return 0
        return self.exists - self._below(self.recent_from)

    @property
    def expunged(self) -> Sequence[int]:
        """Announced UIDs that are gone although the client was not told yet; ascending."""
        return self._expunged

    def number(self, uid: int) -> int:
        """The sequence number of an announced message; for another UID, of the first announced one above it."""
        return self._below(uid) + 1

    def number_at(self, position: int, uid: int) -> int:
        """The same for a live message whose place in the view is known."""
        return position + 1 + (bisect_left(self._expunged, uid) if self._expunged else 0)

    def fetch_head(self, position: int, uid: int) -> str:
        """How a response about a live message begins: `5 FETCH`, or by its UID (RFC 9586 §3.5)."""
        return f"{uid} UIDFETCH" if self.uid_only else f"{self.number_at(position, uid)} FETCH"

    def announced(self, uid: int) -> bool:
        return uid < self._uidnext

    def _below(self, uid: int) -> int:
        return bisect_left(self.view.uids, uid) + bisect_left(self._expunged, uid)

    def uid(self, number: int) -> int:
        """The UID with that sequence number, 1 <= number <= exists: the k-th of two sorted lists."""
        gone = self._expunged
        if not gone:
            return self.view.uids[number - 1]
        low, high = max(0, number - len(self.view.uids)), min(number, len(gone))
        while low < high:  # how many of the first `number` are expunged ones: the least count that is enough
            middle = (low + high) // 2
            if gone[middle] < self.view.uids[number - middle - 1]:
                low = middle + 1
            else:
                high = middle
        candidates = []
        if low:
            candidates.append(gone[low - 1])
        if number - low:
            candidates.append(self.view.uids[number - low - 1])
        return max(candidates)

    def numbers_to_uids(self, numbers: Ranges, *, star: bool) -> Ranges:
        """The announced UIDs that a set of sequence numbers stands for, as ranges of UIDs.

        Args:
            star: the set was written with `*`, which here is already replaced by `exists`.

        Raises:
            UnknownNumber: RFC 9051 §9 seq-number: a number above EXISTS is answered BAD. `*` in an empty mailbox and
                `n:*` with n above EXISTS are let through, as clients use both to look for new mail.
        """
        exists = self.exists
        if not numbers:
            return numbers
        if numbers.pairs[-1][1] > exists and not star:
            raise UnknownNumber
        if not exists:
            return Ranges()
        pairs = [(self.uid(first), self.uid(min(last, exists))) for first, last in numbers.pairs if first <= exists]
        return Ranges.from_pairs(pairs)

    def resolve(self, sequence: SequenceSet, *, uid: bool, beyond: bool = False) -> Ranges:
        """The announced UIDs that a set of UIDs (`uid`) or of sequence numbers names.

        Args:
            beyond: numbers above EXISTS name nothing, instead of being an error.

        Raises:
            UnknownNumber: see `numbers_to_uids`.
            UidRequired: numbers, under UIDONLY.
        """
        if sequence.saved:
            # RFC 5182 §2.1: what is expunged is no longer in it.
            return Ranges.from_sorted(uid for uid in self.saved if self.view.position(uid) >= 0)
        if uid:
            return self.known(sequence.resolve(self.last_uid()))
        if self.uid_only:
            raise UidRequired
        star = beyond or any(STAR in pair for pair in sequence.pairs)
        return self.numbers_to_uids(sequence.resolve(self.exists), star=star)

    def last_uid(self) -> int:
        """The UID of `*`; 0 in an empty mailbox."""
        exists = self.exists
        return self.uid(exists) if exists else 0

    def known(self, uids: Ranges) -> Ranges:
        """`uids` without those that were not announced: they have no sequence number yet to answer with."""
        below = self._uidnext
        pairs = [(first, min(last, below - 1)) for first, last in uids.pairs if first < below]
        return Ranges(tuple(pairs))

    def live(self, uids: Ranges) -> list[int]:
        """The announced messages of the set that exist; ascending."""
        return self.known(uids).pick(self.view.uids)

    def masks(self, uids: Ranges) -> dict[int, int]:
        """UID -> flags of the announced messages of the set that exist; ascending."""
        view = self.view
        masks: dict[int, int] = {}
        for first, last in self.known(uids).pairs:
            low, high = bisect_left(view.uids, first), bisect_right(view.uids, last)
            masks.update(zip(view.uids[low:high], view.flags[low:high], strict=True))
        return masks

    def gone(self, uids: Ranges) -> list[int]:
        """The messages of the set that the client believes in but that are gone; ascending."""
        return uids.pick(self._expunged) if self._expunged else []

    # Flags

    def flag_names(self, uid: int, mask: int) -> str:
        """The flags as in a FLAGS list, without the parentheses."""
        names = self._names.get(mask)
        if names is None:
            names = self._names[mask] = " ".join(flags.to_names(mask, self.view.mailbox.keywords))
        if uid >= self.recent_from:
            return f"{names} \\Recent" if names else "\\Recent"
        return names

    def told(self, uid: int, modseq: int) -> None:
        """The flags of `uid` as of `modseq` were sent by the command itself, or need not be sent."""
        if modseq > self._modseq:  # else there is nothing to tell anyway
            self._told[uid] = modseq

    def stale(self, uids: Iterable[int]) -> set[int]:
        """Those of `uids` whose flags changed since the client was told."""
        changed = self.view.changed_since(self._modseq)
        return set(changed).intersection(uids) if changed else set()

    def first_unseen(self) -> int:
        """The sequence number of the first announced message without \\Seen, 0 when there is none."""
        position = _first_unseen(self.view.flags) - 1 if self.view.mailbox.unseen else -1
        if position < 0 or not self.announced(self.view.uids[position]):
            return 0
        return self.number_at(position, self.view.uids[position])

    # Updates

    def keyword_update(self) -> Keywords | None:
        """The grown keyword table, once; asked before flags are written."""
        names = self.view.mailbox.keywords
        permitted = self.permitted
        if (len(names), permitted) == (self._keywords, self._permitted):
            return None
        self._keywords, self._permitted = len(names), permitted
        self._names.clear()
        return Keywords(names)

    def has_updates(self) -> bool:
        mailbox = self.view.mailbox
        return bool(self._expunged) or mailbox.modseq != self._modseq or mailbox.uidnext != self._uidnext

    def updates(self, *, expunge: bool) -> list[Update]:
        """All that the client must learn now, in the order to send it; afterwards it counts as told.

        Args:
            expunge: EXPUNGE may be sent (RFC 9051 §7.5.1: not while FETCH, STORE or SEARCH is in progress).
        """
        if not self.has_updates():
            self._told.clear()
            return []
        announced = self._uidnext
        found: list[Update] = []
        if expunge:
            found.extend(self._expunges())
        found.extend(self._arrivals())
        keywords = self.keyword_update()
        if keywords is not None:
            found.append(keywords)
        found.extend(self._flag_updates(announced))
        return found

    def _expunges(self) -> Iterator[Update]:
        """Highest first: so no number depends on those sent before it."""
        if self.vanished and self._expunged:
            yield Vanished(Ranges.from_sorted(self._expunged))
            self._expunged = []
        for index in range(len(self._expunged) - 1, -1, -1):
            yield Expunge(bisect_left(self.view.uids, self._expunged[index]) + index + 1)
        self._expunged = []

    def _arrivals(self) -> Iterator[Update]:
        before = self.exists
        self._uidnext = self.view.mailbox.uidnext
        if self.exists != before:
            yield Exists(self.exists)
            if self.tells_recent:
                yield RecentCount(self.recent)

    def _flag_updates(self, announced: int) -> Iterator[Update]:
        """Of messages the client had before this update; those that arrived with it are for the client to fetch."""
        view, told = self.view, self._told
        for uid in view.changed_since(self._modseq):
            if uid < announced and (uid not in told or told[uid] != view.modseqs[view.position(uid)]):
                yield FlagUpdate(uid)
        self._modseq = view.mailbox.modseq
        self._told.clear()


_UNSEEN = bytes(not octet & flags.SEEN for octet in range(256))  # low octet of a mask -> 1 when \\Seen is not set


def _first_unseen(masks: "array[int]") -> int:
    """The 1-based position of the first mask without \\Seen, 0 when each has it; without a loop in Python."""
    low = memoryview(masks).cast("B")[0 if sys.byteorder == "little" else masks.itemsize - 1 :: masks.itemsize]
    return low.tobytes().translate(_UNSEEN).find(1) + 1
