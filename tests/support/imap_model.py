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
_NO_EXPUNGE = ("FETCH", "STORE", "SEARCH", "SORT")  # RFC 9051 §7.5.1, RFC 5256 §3: not while one is in progress
_NUMBERED_SEARCH = re.compile(r"UID SEARCH.*(?<!UID)(?<!LARGER)(?<!MODSEQ) [0-9]")  # RFC 7162 §3.2.10.2: nor it
_TELL_FLAGS = re.compile(r"(UID )?(FETCH|STORE) ")  # these answer with flags, whether the client knows them or not

COUNTERS = "MESSAGES UNSEEN UIDNEXT DELETED SIZE"


@dataclass(slots=True)
class Message:
    """`past`: all the flags it ever had, each with its modseq."""

    flags: Flags
    modseq: int
    subject: str
    size: int
    past: list[tuple[int, Flags]] = field(default_factory=list)


@dataclass(slots=True)
class Box:
    """`touched`: UIDs whose message is new or has changed since the modseq was last looked at; `claims`: the modseqs
    that sessions were told for such messages meanwhile; `keywords`: those that a message had; `stood`: the modseqs
    after each command, which a client may know. A commit may take several: of REPLACE, the expunge has the one before
    the new message's.
    """

    messages: dict[int, Message] = field(default_factory=dict)
    uidnext: int = 1
    modseq: int = 0
    touched: set[int] = field(default_factory=set)
    expunged: dict[int, int] = field(default_factory=dict)  # uid -> modseq, 0 until that is looked at
    claims: set[int] = field(default_factory=set)
    keywords: set[str] = field(default_factory=set)
    stood: list[int] = field(default_factory=list)

    def add(self, flags: Flags, subject: str, size: int) -> int:
        uid, self.uidnext = self.uidnext, self.uidnext + 1
        self.messages[uid] = Message(flags, 0, subject, size)
        self.touched.add(uid)
        self.keywords |= {flag for flag in flags if flag.startswith("$")}
        return uid

    def store(self, uids: Iterable[int], operation: str, flags: Flags) -> None:
        for uid in uids:
            message = self.messages[uid]
            new = applied(message.flags, operation, flags)
            if new != message.flags:
                message.flags = new
                self.touched.add(uid)
                self.keywords |= {flag for flag in new if flag.startswith("$")}

    def remove(self, uids: Iterable[int]) -> None:
        for uid in list(uids):
            del self.messages[uid]
            self.touched.discard(uid)
            self.expunged[uid] = 0

    def told(self, uid: int, flags: Flags, modseq: int | None) -> None:
        """A session was told this of a message: it is so, or it was so once."""
        message = self.messages[uid]
        if uid in self.touched and flags == message.flags and (modseq is None or modseq > self.modseq):
            self.claims |= set() if modseq is None else {modseq}
            return
        past = message.past if modseq is not None else [(None, before) for _, before in message.past]
        assert (modseq, flags) in past, (uid, modseq, flags, message)

    def deleted(self) -> list[int]:
        return [uid for uid, message in self.messages.items() if "\\Deleted" in message.flags]

    def counters(self) -> dict[str, int]:
        """What STATUS must say when it is asked for COUNTERS."""
        return {
            "MESSAGES": len(self.messages),
            "UIDNEXT": self.uidnext,
            "UNSEEN": sum("\\Seen" not in each.flags for each in self.messages.values()),
            "DELETED": len(self.deleted()),
            "SIZE": sum(each.size for each in self.messages.values()),
        }

    def stands_at(self, modseq: int) -> None:
        """The mailbox's modseq after one more command: it has grown exactly when there was a change."""
        changed = bool(self.touched) or 0 in self.expunged.values()
        assert (modseq > self.modseq) == changed, (modseq, self.modseq, self.touched)
        assert self.claims <= {modseq}, (self.claims, modseq)
        if changed:
            self.modseq = modseq
            self.stood.append(modseq)
        for uid in self.touched:
            message = self.messages[uid]
            message.modseq = modseq
            message.past.append((modseq, message.flags))
        self.touched.clear()
        self.claims.clear()
        self.expunged = {uid: at or modseq for uid, at in self.expunged.items()}


def counted(line: str) -> dict[str, int]:
    """What STATUS tells."""
    return {word: int(number) for word, number in re.findall(r"([A-Z]+) (\d+)", line)}


def applied(before: Flags, operation: str, flags: Flags) -> Flags:
    return {"+": before | flags, "-": before - flags}.get(operation, flags)


class Follower:
    """One session. `uids`: of the messages it was told of, in order; `flags`: as it knows them, None for not at all;
    `modseqs`: the last it was told of each with flags; `keywords`: the flags that FLAGS named; `saved`: what `$` is."""

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
        self.modseqs: dict[int, int] = {}
        self.keywords: Flags = frozenset()
        self.saved: frozenset[int] = frozenset()
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

    def selected(self, name: str, box: Box, lines: list[str], *, read_only: bool) -> None:
        """`lines`: what SELECT was answered."""
        self.box, self.box_name, self.read_only = box, name, read_only
        self.saved = self.keywords = frozenset()
        self.fetched = {}
        self.modseqs = {}
        self.uids = list(box.messages)
        self.flags = dict.fromkeys(self.uids)
        self._floor = box.uidnext
        for line in lines:
            if line.startswith(("FLAGS", "OK [PERMANENTFLAGS", "FETCH", "UIDFETCH")) or _FETCH.match(line):
                self.hear(line)

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
        elif found := re.fullmatch(r"FLAGS \((.*)\)", line):
            assert self.keywords <= set(found[1].split()), line  # keywords do not go
            self.keywords = frozenset(found[1].split())
        elif found := re.match(r"OK \[PERMANENTFLAGS \((.*?)\)\]", line):
            permanent = frozenset() if self.read_only else self.keywords | {"\\*"}
            assert frozenset(found[1].split()) == permanent, (line, self.keywords)
        elif re.fullmatch(r"\d+ RECENT", line):
            assert "IMAP4rev2" not in self.enabled, line
        else:
            return False
        return True

    def _may_expunge(self, line: str) -> None:
        assert not self._command.startswith(_NO_EXPUNGE), (self._command, line)
        assert not _NUMBERED_SEARCH.match(self._command), (self._command, line)

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
        if found := re.search(r"FLAGS \(([^)]*)\)", data):
            # FETCH FLAGS without MODSEQ does not tell a client with CONDSTORE the modseq: the update does.
            again = re.search(r"FLAGS \([^)]*\)( MODSEQ)?", self.fetched.get(uid, ""))
            assert not again or (again[1] is None and "MODSEQ" in data) or self.idling, f"{data}: twice in one command"
            self._flags(uid, frozenset(found[1].split()), data)
        self.fetched[uid] = f"{self.fetched.get(uid, '')} {data}"

    def _flags(self, uid: int, flags: Flags, data: str) -> None:
        """FETCH told it these; they count for what the client knows when the message is still there."""
        assert self.box is not None
        assert not ("\\Recent" in flags and "IMAP4rev2" in self.enabled), data
        flags -= {"\\Recent"}
        assert flags <= self.keywords, f"{data}: used before FLAGS named it"
        found = re.search(r"MODSEQ \((\d+)\)", data)
        modseq = int(found[1]) if found else None
        if not _TELL_FLAGS.match(self._command):
            # RFC 7162 §3.2: MODSEQ in every FETCH about changed flags; and what it was told is not told once more.
            assert modseq is not None or "CONDSTORE" not in self.enabled, data
            assert modseq is None or modseq > self.modseqs.get(uid, 0), (data, self.modseqs)
        if modseq is not None:
            self.modseqs[uid] = modseq
        if uid in self.box.messages:
            self.box.told(uid, flags, modseq)
            self.flags[uid] = flags
