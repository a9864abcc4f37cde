"""A page of the story of messages: what its document is, how entries of it are asked for, how an account's leave it.

`at` is the time of its latest entry, all of them are of one minute. `keys` has the keys of its entries, each once, as a
number: the day (since 1970, UTC), then 31 bits of the key's CRC-32. So an index takes new keys in one place, its end,
however much is kept (docs/adr/0014), and who looks for a key asks for that of each day. Other keys may have the same
number, and those of different entries stand beside each other: so each entry has its own numbers too, by which MongoDB
picks, and what it gives is compared once more. Its account is one of an entry's keys.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from zlib import crc32

import bson
from bson.objectid import ObjectId

from duckmail.model.trace import Step, TraceEntry, Wanted
from storage.mongo.client import Document, object_id

MOST_ENTRIES = 64  # at most 256: an id has two digits for the place in its page
LARGEST = 64 * 1024  # octets of a page with more than one entry
# Days in one question: MongoDB merges up to 200 stretches of an index without sorting; a client has two keys a day.
DAYS = 90
MINUTE = timedelta(minutes=1)
BITS = 31  # of a key's number: an Int32

_LAST = datetime(9999, 1, 1, tzinfo=UTC)
_MASK = (1 << BITS) - 1
_minute_of = attrgetter("year", "month", "day", "hour", "minute")


def parts_of(entries: Sequence[TraceEntry]) -> Iterator[list[TraceEntry]]:
    """Those that may stand in one page, one after another."""
    for _, minute in groupby(entries, lambda entry: _minute_of(entry.at)):
        together = list(minute)
        for begin in range(0, len(together), MOST_ENTRIES):
            yield together[begin : begin + MOST_ENTRIES]


def pages_of(part: Sequence[TraceEntry], kept: timedelta) -> Iterator[bytes]:
    """BSON: one page, or more of them when it would be too large."""
    page = bson.encode(_document(part, kept))
    if len(page) <= LARGEST or len(part) == 1:
        yield page
        return
    half = len(part) // 2
    yield from pages_of(part[:half], kept)
    yield from pages_of(part[half:], kept)


def _document(part: Sequence[TraceEntry], kept: timedelta) -> Document:
    entries = [_row(number, entry) for number, entry in enumerate(part)]
    last = max(entry.at for entry in part)
    day = day_of(last) << BITS
    return {
        "_id": ObjectId(),
        "at": last,
        "expires": last + kept,
        "keys": [day | key for key in {key for row in entries for key in row["keys"]}],
        "entries": entries,
    }


def _row(number: int, entry: TraceEntry) -> Document:
    message_id, user, step, at, about, _ = entry
    keys = entry.keys
    row: Document = {"n": number, "msgid": message_id, "step": step.value, "at": at, "about": about}
    if user:
        row["user"] = object_id(user)
        keys += (_account(user),)
    row["keys"] = [_number(key) for key in keys]
    return row


def entry_of(row: Document, page: ObjectId) -> TraceEntry:
    """Ids ascend as pages do, and in a page."""
    user = str(row.get("user", ""))
    return TraceEntry(row["msgid"], user, Step(row["step"]), row["at"], row["about"], f"{page}{row['n']:02x}")


def day_of(moment: datetime) -> int:
    """Since 1970."""
    return int(moment.timestamp()) // 86_400


def days_of(first: int, wanted: Wanted) -> list[range]:
    """From the day `first` until tomorrow (clocks differ), as far as they are wanted: the latest first, up to `DAYS` in
    each."""
    last = day_of(datetime.now(UTC)) + 1
    if wanted.after is not None:
        first = max(first, day_of(wanted.after))
    if wanted.before is not None:
        last = min(last, day_of(wanted.before))
    return [range(max(first, day - DAYS + 1), day + 1) for day in range(last, first - 1, -DAYS)]


def query_of(wanted: Wanted, user: str, days: range) -> Document:
    """Pages of `days` that may have wanted entries."""
    groups = ([day << BITS | key for day in days for key in each] for each in _numbers(wanted, user))
    query: Document = {"$and": [{"keys": {"$in": each}} for each in groups]}
    # What is in a page with a later time is of the same minute.
    before = min(wanted.before, _LAST) + MINUTE if wanted.before is not None else None
    bounds = {"$gte": wanted.after, "$lt": before}
    if at := {name: bound for name, bound in bounds.items() if bound is not None}:
        query["at"] = at
    return query


def shown_of(wanted: Wanted, user: str) -> Document:
    """A projection: of a page its time and those of its entries that seem to be wanted."""
    conditions: list[Document] = [
        {"$or": [{"$in": [key, "$$this.keys"]} for key in each]} for each in _numbers(wanted, user)
    ]
    for operator, bound in (("$gte", wanted.after), ("$lt", wanted.before)):
        if bound is not None:
            conditions.append({operator: ["$$this.at", bound]})
    return {"at": 1, "entries": {"$filter": {"input": "$entries", "cond": {"$and": conditions}}}}


def of_account(user: str, days: range) -> Document:
    """Pages of `days` with entries of an account."""
    key = _number(_account(user))
    return {"keys": {"$in": [day << BITS | key for day in days]}, "entries.user": object_id(user)}


def only_of_account(user: str) -> Document:
    return {"entries": {"$not": {"$elemMatch": {"user": {"$ne": object_id(user)}}}}}


def without_account(user: str) -> list[Document]:
    """An update: entries of the account leave the page, with the keys that no other entry has."""
    others = {"$filter": {"input": "$entries", "cond": {"$ne": ["$$this.user", object_id(user)]}}}
    keys = {"$reduce": {"input": "$entries.keys", "initialValue": [], "in": {"$setUnion": ["$$value", "$$this"]}}}
    day = {"$subtract": [{"$first": "$keys"}, {"$mod": [{"$first": "$keys"}, 1 << BITS]}]}
    dated = {"$map": {"input": keys, "as": "key", "in": {"$add": ["$$key", day]}}}
    return [{"$set": {"entries": others}}, {"$set": {"keys": dated}}]


def _numbers(wanted: Wanted, user: str) -> list[list[int]]:
    """An entry has one of each."""
    groups = [*wanted.keys, [_account(user)]] if user else wanted.keys
    return [[_number(key) for key in each] for each in groups]


def _account(user: str) -> str:
    return "u:" + user


def _number(key: str) -> int:
    return crc32(key.encode()) & _MASK
