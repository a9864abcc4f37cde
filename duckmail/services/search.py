"""SEARCH: evaluates criteria over one view, loading only what is still undecided.

Evaluation is three-valued: a key whose facts are not loaded yet is undecided (None), and And, Or and Not pass that on
as logic has it. The tiers are tried from cheap to dear: what the view knows, what the message documents list, the
decoded header and body text. A message is loaded at a tier only while its answer still depends on it.

Criteria come from clients, who may write thousands of keys: others have their turn at the loop in between, and no
search is more work than `MAX_WORK` (P6).
"""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from duckmail.errors import LimitReached
from duckmail.mime import text
from duckmail.mime.collation import fold
from duckmail.model import search
from duckmail.model.flags import keyword_bit, system_bit
from duckmail.model.ranges import Ranges
from duckmail.runtime.turns import Turns
from duckmail.services.foldedtext import FoldedText, contains
from duckmail.services.textbounds import NONE, Bounds, TextKey, bounds, places_of
from storage.contents.texts import SearchText
from storage.messages import Messages
from storage.textindex import TextIndex
from storage.views import View

MAX_WORK = 100_000_000  # keys times messages of one search, about half a minute: a thousand keys on 100,000 messages
FEW_KEYS = 500  # compiled on the loop
TEXT_BATCH = 50  # contents whose decoded text is held at once

LISTED_ADDRESSES = ("from", "to", "cc", "bcc")

Answer = bool | None


@dataclass(slots=True)
class Candidate:
    """One message and the facts loaded about it."""

    uid: int
    flags: int
    modseq: int
    listed: dict[str, Any] | None = None
    header: str | None = None
    body: FoldedText | None = None
    fields: dict[str, list[str]] = field(default_factory=dict)


Test = Callable[[Candidate], Answer]


class Search:
    """`index`: what it knows of texts spares looking through them."""

    def __init__(self, messages: Messages, view: View, recent_from: int, index: TextIndex | None = None) -> None:
        self._index = index
        self._bounds = NONE
        self._messages = messages
        self._view = view
        self._recent_from = recent_from
        self._now = datetime.now(UTC)
        self._keys = 0  # tests that one message may have to go through

    async def run(self, criteria: search.Node, among: Sequence[int] | None = None) -> list[int]:
        """Ascending UIDs that match, of `among` or of all. Raises: LimitReached (too many keys for so many messages),
        Unavailable."""
        view = self._view
        if self._index is not None:
            self._bounds = await bounds(self._index, view, criteria)
        few = _count_keys(criteria) <= FEW_KEYS
        test = self._compile(criteria) if few else await asyncio.to_thread(self._compile, criteria)
        count = len(view.uids) if among is None else len(among)
        if self._keys * count > MAX_WORK:
            raise LimitReached("Too many search keys for so many messages", keys=self._keys, messages=count)
        rows = self._rows(criteria) if among is None else self._rows_at(map(view.position, among))
        matched, undecided = await self._decide(test, (Candidate(*row) for row in rows))
        if undecided:
            more, undecided = await self._by_listed(test, undecided)
            matched += more
        if undecided:
            matched += await self._by_text(test, undecided)
        return sorted(matched)

    def _rows(self, criteria: search.Node) -> Iterable[tuple[int, int, int]]:
        """UID, flags and modseq of the messages that may match, of one moment: the view moves on."""
        view = self._view
        limit = self._bounds.limit(criteria)
        if limit is None:
            return zip(view.uids[:], view.flags[:], view.modseqs[:], strict=True)
        return self._rows_at(places_of(view, limit, self._bounds.last))

    def _rows_at(self, places: Iterable[int]) -> list[tuple[int, int, int]]:
        view = self._view
        return [(view.uids[one], view.flags[one], view.modseqs[one]) for one in places if one >= 0]

    async def _by_listed(self, test: Test, candidates: list[Candidate]) -> tuple[list[int], list[Candidate]]:
        by_uid = {candidate.uid: candidate for candidate in candidates}
        matched: list[int] = []
        undecided: list[Candidate] = []
        mailbox = self._view.mailbox
        async for documents in self._messages.listed(mailbox.user, mailbox.id, list(by_uid)):
            loaded = []
            for document in documents:
                candidate = by_uid[int(document["uid"])]
                candidate.listed = document
                loaded.append(candidate)
            more, rest = await self._decide(test, loaded)
            matched += more
            undecided += rest
        return matched, undecided

    async def _by_text(self, test: Test, candidates: list[Candidate]) -> list[int]:
        matched: list[int] = []
        for start in range(0, len(candidates), TEXT_BATCH):
            batch = candidates[start : start + TEXT_BATCH]
            by_content: dict[str, list[Candidate]] = {}
            for candidate in batch:
                if candidate.listed is not None:
                    by_content.setdefault(str(candidate.listed["content"]), []).append(candidate)
            async for texts in self._messages.texts([one.listed for one in batch if one.listed is not None]):
                matched += await asyncio.to_thread(_matching, test, texts, by_content)
        return matched

    async def _decide(self, test: Test, candidates: Iterable[Candidate]) -> tuple[list[int], list[Candidate]]:
        """The UIDs that match, and the messages that are undecided."""
        matched: list[int] = []
        undecided: list[Candidate] = []
        turns = Turns()
        for candidate in candidates:
            answer = test(candidate)
            if answer:
                matched.append(candidate.uid)
            elif answer is None:
                undecided.append(candidate)
            await turns.pause()
        return matched, undecided

    # -- compiling -------------------------------------------------------------------------------------------------

    def _compile(self, node: search.Node) -> Test:
        self._keys += 1
        match node:
            case search.All():
                return lambda _message: True
            case search.And(children):
                return _all([self._compile(child) for child in _merged(children, every=True)])
            case search.Or(children):
                return _any([self._compile(child) for child in _merged(children, every=False)])
            case search.Not(child):
                return _not(self._compile(child))
            case search.Header() | search.Body() | search.Text():
                return _text_test(node, self._bounds)
            case search.DateRange() | search.Size() | search.Within():
                return self._listed_test(node)
            case search.Thread() | search.EmailId() | search.Attached() | search.Between():
                return _document_test(node)
            case _:
                return self._view_test(node)

    def _view_test(self, node: search.Node) -> Test:
        match node:
            case search.Flag(name):
                bit = system_bit(name) or keyword_bit(name, self._view.mailbox.keywords)
                return lambda message: bool(message.flags & bit)
            case search.Recent():
                first = self._recent_from
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


def _count_keys(node: search.Node) -> int:
    """The keys of the tree as the client wrote it."""
    match node:
        case search.And(children) | search.Or(children):
            return 1 + sum(map(_count_keys, children))
        case search.Not(child):
            return 1 + _count_keys(child)
        case _:
            return 1


def _merged(children: Sequence[search.Node], *, every: bool) -> list[search.Node]:
    """The same, each key once, with one set and one negated set at most: clients chain thousands of sets, which cost
    interval arithmetic here, not a test per message (H5)."""
    sets: list[Ranges] = []
    negated: list[Ranges] = []
    rest: list[search.Node] = []
    for child in dict.fromkeys(children):
        match child:
            case search.Uids(uids):
                sets.append(uids)
            case search.Not(search.Uids(uids)):
                negated.append(uids)
            case _:
                rest.append(child)
    if negated:  # De Morgan
        rest.insert(0, search.Not(search.Uids(_union(negated) if every else _common(negated))))
    if sets:
        rest.insert(0, search.Uids(_common(sets) if every else _union(sets)))
    return rest


def _union(sets: Sequence[Ranges]) -> Ranges:
    return Ranges.from_pairs(pair for uids in sets for pair in uids.pairs)


def _common(sets: Sequence[Ranges]) -> Ranges:
    """What is in all of them; cost grows with their ranges together."""
    edges = [(first, 1) for uids in sets for first, _ in uids.pairs]
    edges += [(last + 1, -1) for uids in sets for _, last in uids.pairs]
    pairs: list[tuple[int, int]] = []
    depth = start = 0
    for at, step in sorted(edges):
        if depth == len(sets):
            pairs.append((start, at - 1))
        depth += step
        start = at
    return Ranges.from_pairs(pairs)


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


def _matching(test: Test, texts: Sequence[SearchText], by_content: Mapping[str, Sequence[Candidate]]) -> list[int]:
    """CPU work: decoding what is not kept decoded, and looking through it."""
    matched = []
    for found in texts:
        header, body = fold(found.header), FoldedText(found)
        for candidate in by_content[found.id]:
            prefix = (candidate.listed or {}).get("prefix", b"")
            candidate.header = fold(text.decoded_header(prefix)) + header
            candidate.body = body
            if test(candidate):
                matched.append(candidate.uid)
            candidate.header = candidate.body = None
            candidate.fields.clear()
    return matched


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


def _text_test(node: TextKey, known: Bounds) -> Test:
    """Decided without the text where the index knows that the string is not there."""
    needle = fold(node.value)
    test = _test_of_text(node, needle)
    if needle not in known.may:
        return test
    return lambda message: False if known.excluded(needle, message.uid) else test(message)


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
    """Subject and address fields are decided on what is listed, as far as it is whole; the rest on the header."""

    def test(message: Candidate) -> Answer:
        if message.header is not None:
            return any(needle in value for value in _values(message, name))
        if message.listed is None:
            return None
        if needle and "cut" not in message.listed:
            if name == "subject":
                return needle in fold(message.listed.get("subject", ""))
            if name in LISTED_ADDRESSES:
                return any(
                    needle in fold(f"{display} <{address}>") for display, address in message.listed.get(name, ())
                )
        return None

    return test


def _values(message: Candidate, name: str) -> list[str]:
    if not message.fields:
        for line in (message.header or "").splitlines():
            field_name, colon, value = line.partition(":")
            if colon:
                message.fields.setdefault(field_name.strip(), []).append(value.strip())
    return message.fields.get(name, [])
