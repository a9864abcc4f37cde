"""A mailbox in memory, written from the RFCs alone, and a client that believes only what it is told.

`Box` is what the mailbox must be. `Follower` numbers the messages as a client does, from EXISTS, EXPUNGE, VANISHED and
FETCH, and fails at the first response that cannot be right.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from protocols.imap.wire.sequence import SequenceSet
from tests.support.imap_client import ImapClient

Flags = frozenset[str]
_FETCH = re.compile(r"(\d+) (FETCH|UIDFETCH) \((.*)")  # a literal may follow
_NO_EXPUNGE = ("FETCH", "STORE", "SEARCH")  # RFC 9051 §7.5.1: not while one of them is in progress


@dataclass(slots=True)
class Message:
    flags: Flags
    modseq: int
    subject: str


@dataclass(slots=True)
class Box:
    """`touched`: UIDs whose message is new or has changed since the modseq was last looked at."""

    messages: dict[int, Message] = field(default_factory=dict)
    uidnext: int = 1
    modseq: int = 0
    touched: set[int] = field(default_factory=set)
    expunged: dict[int, int] = field(default_factory=dict)  # uid -> modseq, 0 until that is looked at

    def add(self, flags: Flags, subject: str) -> int:
        uid, self.uidnext = self.uidnext, self.uidnext + 1
        self.messages[uid] = Message(flags, 0, subject)
        self.touched.add(uid)
        return uid

    def store(self, uids: Iterable[int], operation: str, flags: Flags) -> None:
        for uid in uids:
            message = self.messages[uid]
            new = applied(message.flags, operation, flags)
            if new != message.flags:
                message.flags = new
                self.touched.add(uid)

    def remove(self, uids: Iterable[int]) -> None:
        for uid in list(uids):
            del self.messages[uid]
            self.touched.discard(uid)
            self.expunged[uid] = 0

    def deleted(self) -> list[int]:
        return [uid for uid, message in self.messages.items() if "\\Deleted" in message.flags]

    def stands_at(self, modseq: int) -> None:
        """The mailbox's modseq after one more command: it has grown exactly when there was a change."""
        changed = bool(self.touched) or 0 in self.expunged.values()
        assert (modseq > self.modseq) == changed, (modseq, self.modseq, self.touched)
        self.modseq = modseq
        for uid in self.touched:
            self.messages[uid].modseq = modseq
        self.touched.clear()
        self.expunged = {uid: at or modseq for uid, at in self.expunged.items()}


def applied(before: Flags, operation: str, flags: Flags) -> Flags:
    return {"+": before | flags, "-": before - flags}.get(operation, flags)


class Follower:
    """One session. `uids`: of the messages it was told of, in order; `flags`: as it knows them, None for not at all."""

    def __init__(self, name: str, client: ImapClient, enabled: frozenset[str]) -> None:
        self.name = name
        self.client = client
        self.enabled = enabled
        self.box: Box | None = None
        self.box_name = ""
        self.read_only = False
        self.idling = ""  # the tag of IDLE
        self.uids: list[int] = []
        self.flags: dict[int, Flags | None] = {}
        self._floor = 1  # UIDs below it were told of
        self._command = ""
        self.fetched: dict[int, str] = {}  # uid -> the last FETCH of it in the command in progress

    @property
    def uid_only(self) -> bool:
        return "UIDONLY" in self.enabled

    @property
    def told(self) -> bool:
        """It knows the mailbox as it is."""
        assert self.box is not None
        live = {uid: message.flags for uid, message in self.box.messages.items()}
        return self.uids == list(live) and all(self.flags[uid] in (None, live[uid]) for uid in self.uids)

    def selected(self, name: str, box: Box, *, read_only: bool) -> None:
        self.box, self.box_name, self.read_only = box, name, read_only
        self.uids = list(box.messages)
        self.flags = dict.fromkeys(self.uids)
        self._floor = box.uidnext

    def left(self) -> None:
        self.box = None

    async def run(self, command: str) -> tuple[list[str], str]:
        """The lines that are not about messages, and the tagged answer."""
        self._command, self.fetched = command, {}
        tag = await self.client.send(command)
        others: list[str] = []
        while True:
            line = await self.client.line()
            if line.startswith(f"{tag} "):
                self._command = ""
                return others, line.removeprefix(f"{tag} ")
            if self.box is None or not self.hear(line.removeprefix("* ")):
                others.append(line.removeprefix("* "))

    def hear(self, line: str) -> bool:
        """Whether the response is one about messages that are there, or are not any more."""
        if found := re.fullmatch(r"(\d+) EXISTS", line):
            self._exists(int(found[1]))
        elif found := re.fullmatch(r"(\d+) EXPUNGE", line):
            assert not {"QRESYNC", "UIDONLY"} & self.enabled, line
            self._may_expunge(line)
            self._gone(self.uids[int(found[1]) - 1])
        elif found := re.fullmatch(r"VANISHED ([0-9:,]+)", line):
            assert {"QRESYNC", "UIDONLY"} & self.enabled, line
            self._may_expunge(line)
            for uid in SequenceSet.parse(found[1].encode()).resolve(0):
                self._gone(uid)
        elif found := _FETCH.match(line):
            self._fetched(int(found[1]), found[2], found[3])
        else:
            if re.fullmatch(r"\d+ RECENT", line):
                assert "IMAP4rev2" not in self.enabled, line
                return True
            return False
        return True

    def _may_expunge(self, line: str) -> None:
        assert not self._command.startswith(_NO_EXPUNGE), (self._command, line)

    def _exists(self, count: int) -> None:
        assert self.box is not None
        arrived = [uid for uid in self.box.messages if uid >= self._floor]
        self._floor = self.box.uidnext
        self.uids += arrived
        self.flags.update(dict.fromkeys(arrived))
        assert count == len(self.uids), (count, self.uids)

    def _gone(self, uid: int) -> None:
        assert self.box is not None
        assert uid not in self.box.messages, f"{uid} is there"
        assert uid in self.flags, f"{uid} was never told of"
        self.uids.remove(uid)
        del self.flags[uid]

    def _fetched(self, number: int, kind: str, data: str) -> None:
        assert (kind == "UIDFETCH") == self.uid_only, kind
        uid = number if self.uid_only else self.uids[number - 1]
        assert uid in self.flags, f"{uid} was never told of"
        if found := re.search(r"\bUID (\d+)", data):
            assert int(found[1]) == uid, (number, data, self.uids)
        assert self.box is not None
        live = self.box.messages.get(uid)
        if (found := re.search(r"FLAGS \(([^)]*)\)", data)) and live is not None:
            flags = frozenset(found[1].split())
            assert not ("\\Recent" in flags and "IMAP4rev2" in self.enabled), data
            self.flags[uid] = flags - {"\\Recent"}
        self.fetched[uid] = f"{self.fetched.get(uid, '')} {data}"
