"""SEARCH: evaluates criteria over one view, loading only what is still undecided.

Evaluation is three-valued: a key whose facts are not known is undecided. What the view, the index of texts and the
columns of listed fields say is joined as sets of messages (`searchsets`); what is undecided then is looked at one by
one (`searchtests`), its facts loaded from cheap to dear: what the message documents list, the decoded header and body
text. A message is loaded at a tier only while its answer still depends on it.

Criteria come from clients, who may write thousands of keys: others have their turn at the loop in between, and no
search is more work than `MAX_WORK` (P6).
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from duckmail.errors import LimitReached
from duckmail.mime import text
from duckmail.mime.collation import casemap
from duckmail.model import search
from duckmail.runtime.turns import Turns
from duckmail.services.foldedtext import FoldedText
from duckmail.services.searchcolumns import answers, column_keys
from duckmail.services.searchkeys import count_keys
from duckmail.services.searchsets import Snapshot, Span, evaluate
from duckmail.services.searchtests import Candidate, Test, Tests
from duckmail.services.textbounds import bounds
from storage.columns import MOST, Columns
from storage.contents.texts import SearchText
from storage.messages import BATCH, Messages
from storage.textindex import TextIndex
from storage.views import View

MAX_WORK = 100_000_000  # keys times messages of one search, about half a minute: a thousand keys on 100,000 messages
FEW_KEYS = 500  # compiled on the loop
FEW_MESSAGES = 20  # looked at one by one sooner than in columns
SHARE = 20  # so manieth of the mailbox, too, where the columns have to be read first
TEXT_BATCH = 50  # contents whose decoded text is held at once


class Search:
    """`index`: what it knows of texts spares looking through them. `columns`: so do they spare message documents."""

    def __init__(
        self,
        messages: Messages,
        view: View,
        recent_from: int,
        index: TextIndex | None = None,
        columns: Columns | None = None,
    ) -> None:
        self._index = index
        self._columns = columns
        self._messages = messages
        self._view = view
        self._recent_from = recent_from
        self._now = datetime.now(UTC)

    async def run(self, criteria: search.Node, among: Sequence[int] | None = None) -> list[int]:
        """Ascending UIDs that match, of `among` (ascending) or of all. Raises: LimitReached (too many keys for so many
        messages), Unavailable."""
        snapshot = Snapshot.of(self._view, self._recent_from, among)
        keys = await asyncio.to_thread(count_keys, criteria)
        if keys * len(snapshot.uids) > MAX_WORK:
            raise LimitReached("Too many search keys for so many messages", keys=keys, messages=len(snapshot.uids))
        known: dict[search.Node, Span] = {}
        if self._index is not None:
            known.update(await bounds(self._index, self._view, snapshot, criteria))
        span = await asyncio.to_thread(evaluate, criteria, snapshot, known)
        if await self._by_columns(criteria, snapshot, known, (span.may ^ span.yes).bit_count()):
            span = await asyncio.to_thread(evaluate, criteria, snapshot, known)
        undecided = await asyncio.to_thread(snapshot.places, span.may ^ span.yes)
        matched = await asyncio.to_thread(snapshot.uids_of, span.yes)
        if undecided:
            tests = Tests(snapshot, self._now, known)
            few = keys <= FEW_KEYS
            test = tests.compile(criteria) if few else await asyncio.to_thread(tests.compile, criteria)
            matched += await self._one_by_one(test, snapshot, undecided)
        return sorted(matched)

    async def _by_columns(
        self, criteria: search.Node, snapshot: Snapshot, known: dict[search.Node, Span], undecided: int
    ) -> bool:
        """Adds what they say, if that is less work than a look at each of so many messages; whether they were asked."""
        mailbox = self._view.mailbox
        if self._columns is None or len(self._view.uids) > MOST:
            return False
        unread = 0 if self._columns.has(mailbox.id) else len(self._view.uids) // SHARE
        if undecided <= max(FEW_MESSAGES, unread):
            return False
        keys = dict.fromkeys(column_keys(criteria))
        if not keys:
            return False
        parts = await self._columns.of(mailbox.user, mailbox.id, self._view.uids[:])
        for key, span in (await asyncio.to_thread(answers, keys, snapshot, parts, self._now)).items():
            before = known.get(key)  # of the index of texts
            known[key] = span if before is None else Span(span.yes | before.yes, span.may & before.may)
        return True

    async def _one_by_one(self, test: Test, snapshot: Snapshot, places: Sequence[int]) -> list[int]:
        matched: list[int] = []
        mailbox = self._view.mailbox
        for start in range(0, len(places), BATCH):
            place_of = {snapshot.uids[place]: place for place in places[start : start + BATCH]}
            async for documents in self._messages.listed(mailbox.user, mailbox.id, list(place_of)):
                loaded = []
                for document in documents:
                    place = place_of[int(document["uid"])]
                    candidate = Candidate(place, snapshot.uids[place], snapshot.flags[place], snapshot.modseqs[place])
                    candidate.listed = document
                    loaded.append(candidate)
                more, undecided = await self._decide(test, loaded)
                matched += more
                matched += await self._by_text(test, undecided)
        return matched

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


def _matching(test: Test, texts: Sequence[SearchText], by_content: Mapping[str, Sequence[Candidate]]) -> list[int]:
    """CPU work: decoding what is not kept decoded, and looking through it."""
    matched = []
    for found in texts:
        header, body = casemap(found.header), FoldedText(found)
        for candidate in by_content[found.id]:
            prefix = (candidate.listed or {}).get("prefix", b"")
            candidate.header = casemap(text.decoded_header(prefix)) + header
            candidate.body = body
            if test(candidate):
                matched.append(candidate.uid)
            candidate.header = candidate.body = None
            candidate.fields.clear()
    return matched
