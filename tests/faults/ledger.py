"""What the clients of a run know to be true, and its comparison with what the database holds."""

import asyncio
import base64
import random
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from bson.objectid import ObjectId

from duckmail.model.flags import to_names
from storage.fsck import check as fsck
from storage.store import Store

MAILBOXES = ("INBOX", "Junk", "Trash")
FLAGS = ("\\seen", "\\flagged", "\\answered", "\\deleted", "$work", "$later", "nice")
LARGE = 0.04  # how many of the messages have an attachment that goes into GridFS
BLOCKED_SECONDS = 30.0  # P6 says 10, on a machine that is not crowded; without leases it would be 60


class Violation(AssertionError):
    """A promise was broken; the text tells the story."""


@dataclass(frozen=True, slots=True)
class Msg:
    """One message in one mailbox: `token` is its Message-ID's local part."""

    token: str
    flags: frozenset[str] = frozenset()


Box = dict[int, Msg]  # by UID
Bag = Counter[Msg]


def bag(box: Box) -> Bag:
    return Counter(box.values())


def make_message(token: str) -> bytes:
    """Always the same octets for a token."""
    chance = random.Random(token)
    head = (
        f"Received: from client.example by relay.example with ESMTP id {chance.getrandbits(48):012x};\r\n"
        " Mon, 02 Nov 2026 10:00:00 +0100\r\n"
        f"From: Sender <sender@example.com>\r\nTo: somebody@mail.test\r\nSubject: {token}\r\n"
        f"Message-ID: <{token}@faults.example>\r\nMIME-Version: 1.0\r\n"
    )
    if chance.random() < LARGE:
        data = base64.encodebytes(chance.randbytes(200_000)).replace(b"\n", b"\r\n")
        body = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n" + data
    else:
        body = b"Content-Type: text/plain\r\n\r\n" + b"a line of a message\r\n" * chance.randrange(1, 150)
    return head.encode() + body


def token_of(header: bytes) -> str:
    return header.partition(b"<")[2].partition(b"@")[0].decode()


@dataclass(slots=True)
class Wait:
    """One answered operation: what, when it began and ended (monotonic seconds)."""

    what: str
    begun: float
    ended: float


@dataclass(slots=True)
class Ledger:
    """Shared by all actors of a run."""

    # account -> tokens delivered to INBOX that no worker has taken over
    delivered: dict[str, set[str]] = field(default_factory=dict)
    # account -> worker -> mailbox -> what the worker has there
    owned: dict[str, dict[str, dict[str, Box]]] = field(default_factory=dict)
    expunged: Counter[str] = field(default_factory=Counter)  # account -> messages
    outcomes: Counter[str] = field(default_factory=Counter)  # "store ok", "append lost: done", ...
    waits: list[Wait] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)  # of mongod
    kills: list[float] = field(default_factory=list)  # of duckmail

    def waited(self, what: str, begun: float) -> None:
        self.waits.append(Wait(what, begun, time.monotonic()))

    def longest(self, *, outage: bool) -> float:
        """The longest wait of an operation; those that met an outage of mongod count only with `outage`, which is
        then taken off."""
        longest = 0.0
        for wait in self.waits:
            missing = sum(max(0.0, min(wait.ended, end) - max(wait.begun, begin)) for begin, end in self.outages)
            near = any(wait.begun < end + 1 and wait.ended > begin for begin, end in self.outages)
            if near is outage:
                longest = max(longest, wait.ended - wait.begun - missing)
        return longest


class Gate:
    """Actors pass while it is open; `closed` waits until each of them has come to rest before it."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._resting = 0
        self._changed = asyncio.Event()
        self.members = 0

    async def passing(self) -> None:
        """Called by an actor that has nothing under way and knows what became of all it did."""
        if self._open.is_set():
            return
        self._resting += 1
        self._changed.set()
        await self._open.wait()

    @property
    def is_open(self) -> bool:
        return self._open.is_set()

    async def close(self, seconds: float = 90.0) -> None:
        self._open.clear()
        try:
            async with asyncio.timeout(seconds):
                while self._resting < self.members:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise Violation(f"only {self._resting} of {self.members} clients came to rest in {seconds:.0f} s") from None

    def open(self) -> None:
        self._resting = 0  # from now on, not when they have woken up
        self._open.set()


async def compare(
    store: Store, ledger: Ledger, *, deep: bool = False
) -> dict[str, dict[str, dict[int, tuple[frozenset[str], int]]]]:
    """The whole database against the ledger, all clients being at rest. `deep`: every octet. Raises: Violation.

    Returns: account -> mailbox -> uid -> (flags, modseq), for the observers to compare with.
    """
    found: dict[str, dict[str, dict[int, tuple[frozenset[str], int]]]] = {}
    for account in ledger.owned:
        found[account] = await _compare_account(store, ledger, account)
    if differences := await fsck(store, deep=deep):
        raise Violation(f"fsck: {differences}")
    return found


async def _compare_account(
    store: Store, ledger: Ledger, account: str
) -> dict[str, dict[int, tuple[frozenset[str], int]]]:
    user = await store.database["users"].find_one({"username": account})
    assert user is not None
    actual: dict[str, Box] = {}
    rows: dict[str, dict[int, tuple[frozenset[str], int]]] = {}
    for mailbox in await store.mailboxes.list(str(user["_id"])):
        query = {"user": user["_id"], "mailbox": ObjectId(mailbox.id)}
        documents = await store.database["messages"].find(query).sort("uid", 1).to_list(None)
        box, rows[mailbox.path] = actual.setdefault(mailbox.path, {}), {}
        for document in documents:
            flags = frozenset(name.lower() for name in to_names(document["flags"], mailbox.keywords))
            box[document["uid"]] = Msg(document["msgid"].strip("<>").partition("@")[0], flags)
            rows[mailbox.path][document["uid"]] = flags, document["modseq"]
    expected: dict[str, Box] = {}
    for boxes in ledger.owned[account].values():
        for path, box in boxes.items():
            expected.setdefault(path, {}).update(box)
    # What no worker owns is what was delivered: each to INBOX, as often as it was, without flags.
    rest = {uid: msg for uid, msg in actual["INBOX"].items() if uid not in expected.get("INBOX", {})}
    for uid in rest:
        del actual["INBOX"][uid]
    wanted = Counter(Msg(token) for token in ledger.delivered[account])
    if bag(rest) != wanted:
        raise Violation(f"{account}: delivered, not there: {wanted - bag(rest)}; too much: {bag(rest) - wanted}")
    for path in {*actual, *expected}:
        _same(f"{account}/{path}", actual.get(path, {}), expected.get(path, {}))
    archived = await store.database["archived"].count_documents({"user": user["_id"]})
    if archived != ledger.expunged[account]:
        raise Violation(f"{account}: {archived} archived, {ledger.expunged[account]} expunged")
    return rows


def _same(where: str, actual: Box, expected: Box) -> None:
    if actual != expected:
        missing = {uid: msg for uid, msg in expected.items() if actual.get(uid) != msg}
        other = {uid: msg for uid, msg in actual.items() if expected.get(uid) != msg}
        raise Violation(f"{where}: expected {_short(missing)}, found {_short(other)}")


def _short(box: Box) -> list[str]:
    items: Iterable[tuple[int, Msg]] = sorted(box.items())
    return [f"{uid}={msg.token} ({' '.join(sorted(msg.flags))})" for uid, msg in items][:20]
