"""What searches look at in message documents, by column: a process keeps that of the mailboxes that it searches.

None of it ever changes for a UID, so what is kept stays right; what has come since is read behind it. Reading is as
much work as a search without columns, so only searches that look at many messages have it done.
"""

import asyncio
import re
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate

from duckmail.mime.collation import casemap
from storage.listed import FIELDS, values
from storage.messages import BATCH, Messages
from storage.mongo.client import Document

MOST = 250_000  # messages of a mailbox; of more nothing is kept
BUDGET = 96 * 1024 * 1024  # octets that a process keeps: about 250 a message
NAMES = (*FIELDS, "message-id")
READ = ("idate", "savedate", "sentday", "size", "cut", *FIELDS, "msgid", "onlyid")
BETWEEN = "\x00"
"""Between the values of one message, so no string that is looked for may hold it."""

_VERBATIM = re.compile(r"<[!->@-~]*>")  # no encoded word, and nothing folded
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_DAY = 86_400_000
_EPOCH_DAY = _EPOCH.toordinal()


@dataclass(frozen=True, slots=True)
class Text:
    """Values of a field, without case, in UTF-8; that of a message begins at its place in `starts`."""

    octets: bytes
    starts: "array[int]"

    def holding(self, needle: bytes) -> bytearray:
        """A digit for each message: 1 when it is in its value."""
        found = bytearray(b"0") * len(self.starts)
        octets, starts = self.octets, self.starts
        at = octets.find(needle)
        while at >= 0:
            place = bisect_right(starts, at)
            found[place - 1] = 0x31
            at = octets.find(needle, starts[place]) if place < len(starts) else -1
        return found


@dataclass(frozen=True, slots=True)
class Part:
    """Columns of messages, ascending by UID.

    `received`, `saved`: milliseconds since 1970. `received_day`, `sent_day`, `saved_day`: as `date.toordinal`.
    `cut`: a digit for each, 1 where subject and addresses are not whole; `more`: 1 where fields called Message-ID may
    hold more than is here.
    """

    uids: "array[int]"
    sizes: "array[int]"
    received: "array[int]"
    received_day: "array[int]"
    sent_day: "array[int]"
    saved_day: "array[int]"
    cut: bytes
    more: bytes
    texts: Mapping[str, Text]

    @property
    def octets(self) -> int:
        """Memory."""
        texts = sum(len(text.octets) + 4 * len(text.starts) for text in self.texts.values())
        return texts + 35 * len(self.uids)


class Columns:
    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._kept: OrderedDict[str, list[Part]] = OrderedDict()
        self._octets = 0

    def has(self, mailbox: str) -> bool:
        """Whether they are kept, perhaps but for the newest messages."""
        return mailbox in self._kept

    async def of(self, user: str, mailbox: str, uids: Sequence[int]) -> Sequence[Part]:
        """With all of `uids` (ascending, those of the mailbox) that exist. Raises: Unavailable."""
        kept = self._kept.get(mailbox, [])
        if kept and kept[-1].uids[-1] >= uids[-1]:
            self._kept.move_to_end(mailbox)
            return kept
        parts = kept[:-1] if kept and len(kept[-1].uids) < BATCH else kept[:]  # the last one is filled
        last = parts[-1].uids[-1] if parts else 0
        async for documents in self._messages.fields(user, mailbox, uids[bisect_right(uids, last) :], READ):
            parts.append(await asyncio.to_thread(_part, documents))
        self._keep(mailbox, parts)
        return parts

    def _keep(self, mailbox: str, parts: list[Part]) -> None:
        """Those used least recently go when there is too much."""
        self._octets += _octets(parts) - _octets(self._kept.pop(mailbox, []))
        self._kept[mailbox] = parts
        while self._octets > BUDGET:
            _, oldest = self._kept.popitem(last=False)
            self._octets -= _octets(oldest)


def _octets(parts: Sequence[Part]) -> int:
    return sum(part.octets for part in parts)


def _part(documents: Sequence[Document]) -> Part:
    """CPU work."""
    received = [_milliseconds(document["idate"]) for document in documents]
    saved = [_milliseconds(document["savedate"]) for document in documents]
    received_day = [_day(moment) for moment in received]
    return Part(
        array("I", [document["uid"] for document in documents]),
        array("q", [document["size"] for document in documents]),
        array("q", received),
        array("i", received_day),
        array("i", [document.get("sentday", day) for document, day in zip(documents, received_day, strict=True)]),
        array("i", map(_day, saved)),
        b"".join([b"1" if "cut" in document else b"0" for document in documents]),
        b"".join([b"0" if document.get("onlyid") else b"1" for document in documents]),
        {name: _text([_values(document, name) for document in documents]) for name in NAMES},
    )


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def _day(milliseconds: int) -> int:
    return milliseconds // _DAY + _EPOCH_DAY


def _values(document: Document, name: str) -> str:
    if name in FIELDS:
        return BETWEEN.join(values(document, name))
    identifier: str = document.get("msgid", "")
    # Of the others nothing that decoding the field would make another text of.
    return casemap(identifier) if document.get("onlyid") or _VERBATIM.fullmatch(identifier) else ""


def _text(of: Sequence[str]) -> Text:
    octets = [f"{value}{BETWEEN}".encode("utf-8", "surrogatepass") for value in of]
    return Text(b"".join(octets), array("I", accumulate(map(len, octets[:-1]), initial=0)))
