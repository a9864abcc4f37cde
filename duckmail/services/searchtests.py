"""The keys of a search as tests of one message, whose facts are loaded from cheap to dear.

A key whose facts are not loaded yet is undecided (None), and And, Or and Not pass that on as logic has it.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from duckmail.mime.collation import casemap
from duckmail.mime.words import fields
from duckmail.model import search
from duckmail.model.flags import keyword_bit, system_bit
from duckmail.model.ranges import Ranges
from duckmail.services.foldedtext import FoldedText, contains
from duckmail.services.searchkeys import merged
from duckmail.services.searchsets import Snapshot, Span
from duckmail.services.textbounds import TextKey
from storage.listed import FIELDS, values

Answer = bool | None


@dataclass(slots=True)
class Candidate:
    """One message and the facts loaded about it. `place`: in the snapshot."""

    place: int
    uid: int
    flags: int
    modseq: int
    listed: dict[str, Any] | None = None
    header: str | None = None
    body: FoldedText | None = None
    fields: dict[str, list[str]] = field(default_factory=dict)


Test = Callable[[Candidate], Answer]


class Tests:
    """`known`: what is known of keys without a look at the messages."""

    def __init__(self, snapshot: Snapshot, now: datetime, known: Mapping[search.Node, Span]) -> None:
        self._snapshot = snapshot
        self._now = now
        self._known = known

    def compile(self, node: search.Node) -> Test:
        match node:
            case search.All():
                return lambda _message: True
            case search.And(children):
                return _all([self.compile(child) for child in merged(children, every=True)])
            case search.Or(children):
                return _any([self.compile(child) for child in merged(children, every=False)])
            case search.Not(child):
                return _not(self.compile(child))
            case search.Header() | search.Body() | search.Text():
                return _known_first(_test_of_text(node, casemap(node.value)), self._known.get(node))
            case search.DateRange() | search.Size() | search.Within():
                return self._listed_test(node)
            case search.Thread() | search.EmailId() | search.Attached() | search.Between():
                return _document_test(node)
            case _:
                return self._view_test(node)

    def _view_test(self, node: search.Node) -> Test:
        match node:
            case search.Flag(name):
                bit = system_bit(name) or keyword_bit(name, self._snapshot.keywords)
                return lambda message: bool(message.flags & bit)
            case search.Recent():
                first = self._snapshot.recent_from
                return lambda message: bool(first) and message.uid >= first
            case search.Uids(uids):
                return _uids_test(uids)
            case search.ModSeq(least):
                return lambda message: message.modseq >= least
            case _:
                raise TypeError(f"no search key: {type(node).__name__}")

    def _listed_test(self, node: search.DateRange | search.Size | search.Within) -> Test:
        match node:
            case search.DateRange(which, since, before):
                return _listed(lambda document: _in_days(_day(document, which), since, before))
            case search.Size(larger, smaller):
                low = -1 if larger is None else larger
                high = 1 << 63 if smaller is None else smaller
                return _listed(lambda document: low < int(document["size"]) < high)
            case search.Within(younger, older):
                return _listed(lambda document: _in_age(self._now - document["idate"], younger, older))


def _document_test(node: search.Thread | search.EmailId | search.Attached | search.Between) -> Test:
    match node:
        case search.EmailId(wanted):
            return _listed(lambda document: str(document["emailid"]) == wanted)
        case search.Thread(wanted):
            return _listed(lambda document: str(document.get("thread") or document["emailid"]) == wanted)
        case search.Attached():
            return _listed(lambda document: any(not row["related"] for row in document["attachments"]))
        case search.Between(since, before):
            return _listed(
                lambda document: (
                    (since is None or document["idate"] >= since) and (before is None or document["idate"] < before)
                )
            )


def _uids_test(uids: Ranges) -> Test:
    """By bisection: memory is what the client wrote, not the messages that it means by that."""
    firsts = [first for first, _ in uids.pairs]
    lasts = [last for _, last in uids.pairs]

    def test(message: Candidate) -> Answer:
        index = bisect_right(firsts, message.uid) - 1
        return index >= 0 and message.uid <= lasts[index]

    return test


def _all(tests: Sequence[Test]) -> Test:
    def test(message: Candidate) -> Answer:
        answer: Answer = True
        for one in tests:
            found = one(message)
            if found is False:
                return False
            if found is None:
                answer = None
        return answer

    return test


def _any(tests: Sequence[Test]) -> Test:
    def test(message: Candidate) -> Answer:
        answer: Answer = False
        for one in tests:
            found = one(message)
            if found:
                return True
            if found is None:
                answer = None
        return answer

    return test


def _not(test: Test) -> Test:
    def negated(message: Candidate) -> Answer:
        found = test(message)
        return None if found is None else not found

    return negated


def _listed(decide: Callable[[dict[str, Any]], bool]) -> Test:
    return lambda message: None if message.listed is None else decide(message.listed)


def _day(document: dict[str, Any], which: search.DateField) -> date:
    # RFC 9051 §6.4.4: SENT* takes the day as it is written in the Date header, time and zone disregarded.
    if which is search.DateField.SENT and "sentday" in document:
        return date.fromordinal(document["sentday"])
    moment: datetime = document["savedate" if which is search.DateField.SAVED else "idate"]
    return moment.astimezone(UTC).date()


def _in_days(day: date, since: date | None, before: date | None) -> bool:
    return (since is None or day >= since) and (before is None or day < before)


def _in_age(age: timedelta, younger: int | None, older: int | None) -> bool:
    # RFC 5032: YOUNGER is at most, OLDER at least so many seconds.
    seconds = age.total_seconds()
    return (younger is None or seconds <= younger) and (older is None or seconds >= older)


# -- text ----------------------------------------------------------------------------------------------------------


def _known_first(test: Test, known: Span | None) -> Test:
    """Decided without the text where it is known whether the string is there."""
    if known is None:
        return test
    yes, may = (bits.to_bytes((bits.bit_length() + 7) // 8, "little") for bits in (known.yes, known.may))

    def first(message: Candidate) -> Answer:
        octet, bit = message.place >> 3, 1 << (message.place & 7)
        if octet >= len(may) or not may[octet] & bit:
            return False
        return True if octet < len(yes) and yes[octet] & bit else test(message)

    return first


def _test_of_text(node: TextKey, needle: str) -> Test:
    match node:
        case search.Header(name, _):
            return _header_test(name.lower(), needle)
        case search.Body():
            return lambda message: None if message.body is None else contains(message.body, needle)
        case search.Text():
            return lambda message: (
                None
                if message.header is None or message.body is None
                else needle in message.header or contains(message.body, needle)
            )


def _header_test(name: str, needle: str) -> Test:
    """Subject, address fields and Message-ID are decided on what is listed, as far as it is whole; the rest on the
    header."""
    field = casemap(name)

    def test(message: Candidate) -> Answer:
        if needle and message.listed is not None:
            answer = _in_listed(message.listed, name, needle)
            if answer is not None:
                return answer
        if message.header is None:
            return None
        return any(needle in value for value in _values(message, field))

    return test


def _in_listed(document: dict[str, Any], name: str, needle: str) -> Answer:
    if name == "message-id":
        return needle in casemap(document["msgid"]) if document.get("onlyid") else None
    if "cut" in document:
        return None
    return any(needle in value for value in values(document, name)) if name in FIELDS else None


def _values(message: Candidate, name: str) -> list[str]:
    if not message.fields:
        for field_name, value in fields(message.header or ""):
            message.fields.setdefault(field_name, []).append(value)
    return message.fields.get(name, [])
