"""Watches one mailbox as a synchronising client does, and finds what came late, out of order or not at all (P3)."""

import asyncio
from collections.abc import Sequence

from tests.faults.actors import Actor
from tests.faults.ledger import Gate, Ledger, Violation
from tests.faults.rig import PASSWORD, Serve
from tests.faults.wire import Answer, Exists, Expunged, Fetched, Imap, LostError, Response, events

Seen = tuple[frozenset[str], int]  # flags, modseq


class Observer(Actor):
    """Keeps a copy of a mailbox: by IDLE or NOOP while connected, by CHANGEDSINCE or anew after a lost connection."""

    def __init__(
        self, name: str, seed: int, serves: Sequence[Serve], ledger: Ledger, gate: Gate, account: str, path: str
    ) -> None:
        super().__init__(name, seed, serves, ledger, gate)
        self.account = account
        self.path = path
        self.copy: dict[int, Seen] = {}
        self._client: Imap | None = None
        self._numbers: list[int] = []  # sequence number - 1 -> UID; 0 for one that is not known yet
        self._ever: set[int] = set()
        self._uidnext = 1  # no UID below it may newly appear
        self._modseq = 0  # all changes up to it are in the copy

    def lost(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None

    async def turn(self) -> None:
        if self._client is None:
            self._client = await Imap.connect(self.any_serve().imap, self.account, PASSWORD)
            await self._begin(self._client)
        client = self._client
        if not self.gate.is_open:
            await self._hear(client, (await self._command(client, "NOOP")).untagged)
            await self.gate.passing()
        elif self.chance.random() < 0.5:
            await self._hear(client, (await self._command(client, "NOOP")).untagged)
            await asyncio.sleep(self.chance.random() * 0.2)
        else:
            await client.idle()
            await asyncio.sleep(self.chance.random() * 0.6)
            await self._hear(client, (await client.done()).untagged)

    async def _begin(self, client: Imap) -> None:
        """What a client does first: what it had, brought up to date, or all of it anew."""
        answer = await self._command(client, f"SELECT {self.path} (CONDSTORE)")
        uidnext, modseq = int(answer.code("UIDNEXT") or 0), int(answer.code("HIGHESTMODSEQ") or 0)
        if uidnext < self._uidnext or modseq < self._modseq:
            raise Violation(f"{self.name}: UIDNEXT {self._uidnext} -> {uidnext}, modseq {self._modseq} -> {modseq}")
        exists = [event.count for event in events(answer.untagged) if isinstance(event, Exists)][-1]
        self._numbers = []
        if self.copy and self.chance.random() < 0.5:
            listed = await self._command(client, "FETCH 1:* (UID)")
            # RFC 7162 §3.1.4: everything that changed since; what is gone shows by its absence.
            changes = await self._command(client, f"FETCH 1:* (UID FLAGS) (CHANGEDSINCE {self._modseq})")
            now = self._announced(listed, exists)
            self.copy = {uid: seen for uid, seen in self.copy.items() if uid in set(now)}
        else:
            listed = changes = await self._command(client, "FETCH 1:* (UID FLAGS MODSEQ)")
            now, self.copy = self._announced(listed, exists), {}
        self._new_uids(now)
        self._uidnext = max(self._uidnext, uidnext)
        self._numbers = now
        later = [event.count for event in events([*listed.untagged, *changes.untagged]) if isinstance(event, Exists)]
        for row in _rows(changes.untagged):
            if row.number <= len(now):
                self._note(row)
        await self._fetch_new(client, max([exists, *later]))
        self._modseq = max([modseq, *(seen[1] for seen in self.copy.values())])

    def _announced(self, answer: Answer, exists: int) -> list[int]:
        """The UIDs of the messages numbered 1 to `exists`. Raises: LostError when one was expunged meanwhile."""
        uids = {row.number: row.uid for row in _rows(answer.untagged) if row.number <= exists and row.uid is not None}
        if len(uids) < exists:
            raise LostError("expunged while looking")
        return [uids[number] for number in range(1, exists + 1)]

    async def _command(self, client: Imap, text: str) -> Answer:
        answer = await client.command(text)
        if answer.status == "NO" and any(code in answer.text for code in ("[UNAVAILABLE]", "[EXPUNGEISSUED]")):
            raise LostError(answer.text)
        if answer.status != "OK":
            raise Violation(f"{self.name}: {text} answered {answer.status} {answer.text}")
        return answer

    async def _hear(self, client: Imap, untagged: Sequence[Response]) -> None:
        """One round of news. All of it is newer than what was known before the round."""
        before = self._modseq
        await self._fetch_new(client, self._take(untagged, before))
        self._modseq = max([before, *(seen[1] for seen in self.copy.values())])

    def _take(self, untagged: Sequence[Response], before: int) -> int:
        """Applies responses in order; how many messages there are now."""
        exists = len(self._numbers)
        for event in events(untagged):
            match event:
                case Exists(count):
                    if count < exists:
                        raise Violation(f"{self.name}: EXISTS fell from {exists} to {count}")
                    exists = count
                case Expunged(number):
                    exists -= 1
                    if number <= len(self._numbers):
                        self.copy.pop(self._numbers.pop(number - 1), None)
                case Fetched():
                    if event.modseq is not None and event.modseq <= before:
                        raise Violation(f"{self.name}: a change of modseq {event.modseq} came after {before}: {event}")
                    # One that arrived in this round is asked for behind it, if it is still there.
                    if event.number <= len(self._numbers):
                        if event.uid != self._numbers[event.number - 1]:
                            raise Violation(f"{self.name}: {event} is UID {self._numbers[event.number - 1]}")
                        self._note(event)
        return exists

    async def _fetch_new(self, client: Imap, exists: int) -> None:
        while len(self._numbers) < exists:
            first = len(self._numbers) + 1
            answer = await self._command(client, f"FETCH {first}:{exists} (UID FLAGS MODSEQ)")
            # RFC 9051 §7.5.1: no EXPUNGE while FETCH runs, so its numbers are those of before.
            rows = {row.number: row.uid for row in _rows(answer.untagged) if first <= row.number <= exists}
            uids = [uid for _, uid in sorted(rows.items()) if uid is not None]
            if len(uids) < exists - first + 1:
                raise LostError("expunged while looking")
            self._new_uids(uids)
            self._numbers += uids
            exists = self._take(answer.untagged, 0)

    def _new_uids(self, uids: Sequence[int]) -> None:
        late = [uid for uid in uids if uid < self._uidnext and uid not in self._ever]
        if late:
            raise Violation(f"{self.name}: UIDs {late} appeared after UIDNEXT {self._uidnext} was seen")
        self._ever.update(uids)
        self._uidnext = max([self._uidnext, *(uid + 1 for uid in uids)])

    def _note(self, row: Fetched) -> None:
        """Flags of a message; a response without them, or without its modseq, is none that this client asked for."""
        if row.uid is None or row.flags is None or row.modseq is None:
            raise Violation(f"{self.name}: an incomplete FETCH response {row}")
        if row.uid in self.copy and row.modseq < self.copy[row.uid][1]:
            raise Violation(f"{self.name}: {row} after modseq {self.copy[row.uid][1]}")
        self.copy[row.uid] = row.flags, row.modseq

    def compare(self, rows: dict[int, Seen]) -> None:
        """With the mailbox itself, everybody being at rest. Raises: Violation."""
        if self.copy != rows or self._numbers != sorted(rows):
            differing = {uid for uid in {*rows, *self.copy} if rows.get(uid) != self.copy.get(uid)}
            story = {uid: (self.copy.get(uid), rows.get(uid)) for uid in sorted(differing)[:20]}
            raise Violation(
                f"{self.name} on {self.account}/{self.path}: (seen, there) {story}, numbers {self._numbers}"
            )


def _rows(untagged: Sequence[Response]) -> list[Fetched]:
    return [event for event in events(untagged) if isinstance(event, Fetched)]
