"""A run of the queue at rest: every promise compared with what the databases and the relay hold."""

import email
import email.policy
from collections import Counter
from dataclasses import dataclass, field
from email.message import Message
from typing import Any, TypeVar

from duckmail.model.flags import SEEN
from storage.fsck import check as fsck
from storage.mongo.client import Database, Document
from storage.store import Store
from tests.faults.ledger import Violation
from tests.faults.queue_ledger import Doubles, Mail, QueueLedger, Stage, doubles, make_mail, message_id

COPIES = "Sent Mail"

Group = TypeVar("Group", set[str], Counter[Any])


@dataclass(slots=True)
class Found:
    """What was compared."""

    messages: int = 0  # submissions that the queue has
    unanswered: Counter[str] = field(default_factory=Counter)  # submissions without an answer: taken, or not
    states: Counter[str] = field(default_factory=Counter)  # recipients by their end
    reports: int = 0  # DSNs
    told: Counter[str] = field(default_factory=Counter)  # recipients in DSNs, by action
    copies: int = 0  # in Sent
    attempts: Counter[int] = field(default_factory=Counter)  # recipients by number of attempts
    read_back: int = 0  # messages whose octets were compared
    doubles: Doubles = field(default_factory=Doubles)


async def compare(store: Store, ledger: QueueLedger, *, copying: set[str], deep: bool) -> Found:
    """All clients being at rest and the queue empty. `copying`: accounts with a copy in Sent. `deep`: every octet.

    Raises: Violation.
    """
    ledger.check()
    found = Found()
    mails = await _queued(store.database, ledger, found)
    for account, drop in ledger.drops.items():
        rows = await _rows(store.database, account)
        _compare_local(account, mails, rows)
        found.copies += _compare_copies(account, mails if account in copying else [], rows)
        await _compare_reports(store, account, mails, rows, found)
        seen = {row["msgid"] for row in rows if row["flags"] & SEEN and row["path"] == "INBOX"}
        trash = {row["msgid"] for row in rows if row["flags"] & SEEN and row["path"] == "Trash"}
        _same(f"{account}: \\Seen in INBOX", drop.seen - drop.trash, seen)
        _same(f"{account}: \\Seen in Trash", drop.trash, trash)
        if deep:
            await _read_back(store, ledger, rows, found)
    _compare_relay(ledger, mails)
    found.doubles = doubles(ledger)
    if differences := await fsck(store, deep=deep):
        raise Violation(f"fsck: {differences[:10]}")
    return found


async def _queued(database: Database, ledger: QueueLedger, found: Found) -> list[Mail]:
    """What the queue has taken, each message once, all at its end as it should be."""
    rows = await database["queue"].find({"origin": "submission"}).to_list(None)
    counts = Counter(row["envelope"]["envid"] for row in rows)
    for token, mail in ledger.mails.items():
        expected = {Stage.TAKEN: {1}, Stage.SENT: {0, 1}}.get(mail.stage, {0})
        if counts[token] not in expected:
            raise Violation(f"{token} is in the queue {counts[token]} times, the submission is {mail.stage}")
        if mail.stage is Stage.SENT:
            found.unanswered["taken" if counts[token] else "not taken"] += 1
    for row in rows:
        mail = ledger.mails[row["envelope"]["envid"]]
        states = {each["address"]: each["state"] for each in row["recipients"]}
        if states != mail.states():
            raise Violation(f"{mail} ended as {row['recipients']}")
        found.states.update(states.values())
        found.attempts.update(each["attempts"] for each in row["recipients"])
    found.messages = len(rows)
    return [ledger.mails[token] for token in counts]


async def _rows(database: Database, account: str) -> list[Document]:
    """All messages of an account, with the `path` of their mailbox."""
    user = await database["users"].find_one({"username": account}, {"_id": 1})
    assert user is not None
    boxes = {box["_id"]: box["path"] async for box in database["mailboxes"].find({"user": user["_id"]}, {"path": 1})}
    fields = {"msgid": 1, "flags": 1, "mailbox": 1, "content": 1}
    rows = await database["messages"].find({"user": user["_id"]}, fields).to_list(None)
    return [{**row, "path": boxes[row["mailbox"]]} for row in rows]


def _compare_local(account: str, mails: list[Mail], rows: list[Document]) -> None:
    """Each message for the account is there once."""
    names = {message_id(mail.token): mail for mail in mails}
    there = Counter(row["msgid"] for row in rows if row["path"] != COPIES and row["msgid"].endswith("@faults.example>"))
    wanted = Counter(name for name, mail in names.items() if account in mail.local)
    _same(f"{account}: delivered", wanted, there)


def _compare_copies(account: str, mails: list[Mail], rows: list[Document]) -> int:
    """One for each message that was taken, and for nothing else: of the unanswered ones both are there or neither."""
    copies = [row for row in rows if row["path"] == COPIES]
    wanted = Counter(message_id(mail.token) for mail in mails if mail.sender == account)
    _same(f"{account}: copies", wanted, Counter(row["msgid"] for row in copies))
    if any(not row["flags"] & SEEN for row in copies):
        raise Violation(f"{account}: a copy is not \\Seen")
    return len(copies)


async def _compare_reports(store: Store, account: str, mails: list[Mail], rows: list[Document], found: Found) -> None:
    """Each recipient that the sender is to be told of is told of once."""
    reports = [row for row in rows if not row["msgid"].endswith("@faults.example>")]
    told: Counter[tuple[str, str, str]] = Counter()
    for row in reports:
        if row["path"] not in ("INBOX", "Trash"):
            raise Violation(f"{account}: a report in {row['path']}")
        told.update(_entries(await _octets(store, row)))
    wanted = Counter(entry for mail in mails if mail.sender == account for entry in mail.entries())
    _same(f"{account}: told", wanted, told)
    found.reports += len(reports)
    found.told.update(action for _, _, action in told.elements())


def _entries(raw: bytes) -> list[tuple[str, str, str]]:
    """(token, address, action) of each recipient in a report (RFC 3464)."""
    report = email.message_from_bytes(raw, policy=email.policy.SMTP)
    if report.get_content_type() != "multipart/report":
        raise Violation(f"a message that nobody sent: {raw[:500]!r}")
    _, status, original = report.get_payload()
    blocks: list[Message] = status.get_payload()
    token = blocks[0]["Original-Envelope-Id"]
    if message_id(token) not in original.get_payload():
        raise Violation(f"the report on {token} returns something else")
    return [(token, block["Final-Recipient"].partition("; ")[2], block["Action"]) for block in blocks[1:]]


async def _octets(store: Store, row: Document) -> bytes:
    name = str(row["content"])
    content = (await store.contents.load([name])).get(name)
    if content is None:
        raise Violation(f"{row['msgid']}: its content is missing")
    return b"".join([piece async for piece in content.read()])


async def _read_back(store: Store, ledger: QueueLedger, rows: list[Document], found: Found) -> None:
    known = {message_id(token): mail for token, mail in ledger.mails.items()}
    for row in rows:
        mail = known.get(row["msgid"])
        if mail is not None and not (await _octets(store, row)).endswith(make_mail(mail)):
            raise Violation(f"{row['path']}: {row['msgid']} has other octets")
        found.read_back += 1


def _compare_relay(ledger: QueueLedger, mails: list[Mail]) -> None:
    """The relay has answered for what the queue calls relayed, and has nothing else."""
    wanted = {address for mail in mails for address in mail.remote if mail.relayed(address)}
    answered = {address for address, events in ledger.taken.items() if any(event.answered for event in events)}
    _same("at the relay", wanted, answered)
    _same("at the relay, without an answer", set(), ledger.taken.keys() - wanted)


def _same(where: str, wanted: Group, there: Group) -> None:
    if wanted != there:
        raise Violation(f"{where}: missing {sorted(wanted - there)[:10]}, too much {sorted(there - wanted)[:10]}")
