"""Real mail survives: every message of the corpus, in by LMTP and by APPEND, out by IMAP, octet for octet."""

import imaplib
import re
import smtplib
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from imapclient import IMAPClient
from pymongo.database import Database

from tests.support.contents import attachment, multipart, octets, plain
from tests.support.corpus import corpus
from tests.support.server_process import Account, ServerProcess, deliver

GOLDEN = Path(__file__).parents[1] / "golden"
BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
BATCH = 50
LARGE = 300_000
PARTIAL = (100, 1000)  # first octet, count

Corpus = Sequence[tuple[str, bytes]]


@pytest.fixture(scope="module")
def messages() -> Corpus:
    """(name, octets)."""
    gathered = [*corpus(), *((file.stem, file.read_bytes()) for file in sorted(GOLDEN.glob("*.eml"))), *large()]
    names = [name for name, _ in gathered]
    assert len(set(names)) == len(names)
    assert any(name.startswith("cpython-") for name in names) or pytest.skip("Python came without its own tests")
    return [(name, message) for name, message in gathered if message]


def large() -> Iterator[tuple[str, bytes]]:
    """With attachments that are stored apart: one file in several messages and framings, stored decoded and once; and
    base64 that no encoder would make again, each differing in its middle from what decoding and encoding would give."""
    data = octets(LARGE)
    one, other = attachment(data, "a.bin"), attachment(data[:200_000], "b.bin")
    yield "large-one", multipart(plain("first"), one)
    yield "large-two", multipart(plain("second"), one, other)
    yield "large-lf", multipart(plain("third"), one).replace(b"\r\n", b"\n")
    yield "large-lines-of-60", multipart(plain("fourth"), attachment(data, "c.bin", 60))
    yield "large-cut-off", multipart(plain("fifth"), one)[:-30]
    head, digits = one.split(b"\r\n\r\n", 1)
    lines = digits.split(b"\r\n")
    middle = len(lines) // 2
    for name, line in (
        ("short-line", lines[middle][:40] + b"\r\n" + lines[middle][40:]),
        ("long-line", lines[middle] + lines[middle]),
        ("empty-line", b"\r\n" + lines[middle]),
        ("space-at-the-end", lines[middle] + b" "),
        ("tab-in-front", b"\t" + lines[middle]),
        ("foreign-sign", lines[middle][:20] + b"*" + lines[middle][21:]),
        ("padding", lines[middle][:-2] + b"=="),
        ("lone-lf", lines[middle] + b"\n" + lines[middle]),
    ):
        body = b"\r\n".join([*lines[:middle], line, *lines[middle + 1 :]])
        yield f"large-base64-{name}", multipart(plain(name), head + b"\r\n\r\n" + body)
    # The last sign holds bits that nobody decodes: other bits there give the same octets.
    spare = attachment(data[:-2], "spare.bin")
    assert spare.endswith(b"==")
    last = spare[-3:-2]
    yield "large-base64-spare-bits", multipart(plain("spare"), spare[:-3] + (b"B" if last != b"B" else b"C") + b"==")


def fetched(client: IMAPClient, items: Sequence[str]) -> Iterator[tuple[int, dict[bytes, object]]]:
    """Every message of the selected mailbox, by UID, some at a time."""
    uids = client.search()
    for start in range(0, len(uids), BATCH):
        yield from sorted(client.fetch(uids[start : start + BATCH], items).items())


def check_octets(server: ServerProcess, account: Account, mailbox: str, expected: Corpus) -> None:
    """Every way to read a message gives the same octets; `expected` is in the order of UIDs."""
    first, count = PARTIAL
    items = ["RFC822.SIZE", "BODY.PEEK[]", "BODY.PEEK[HEADER]", "BODY.PEEK[TEXT]", f"BODY.PEEK[]<{first}.{count}>"]
    wrong = []
    seen = 0
    with server.imap(account) as client:
        client.select_folder(mailbox, readonly=True)
        for (name, message), (_, row) in zip(expected, fetched(client, items), strict=True):
            seen += 1
            whole = {
                "BODY[]": row[b"BODY[]"] == message,
                "size": row[b"RFC822.SIZE"] == len(message),
                "HEADER TEXT": row[b"BODY[HEADER]"] + row[b"BODY[TEXT]"] == message,
                "partial": row[f"BODY[]<{first}>".encode()] == message[first : first + count],
            }
            wrong += [f"{name}: {what}" for what, right in whole.items() if not right]
        # The standard items that a client asks for are there and can be read for every one of them.
        described = sum(1 for _ in fetched(client, ["ENVELOPE", "BODYSTRUCTURE", "INTERNALDATE", "FLAGS"]))
    assert wrong == []
    assert seen == described == len(expected)


def test_append(server: ServerProcess, messages: Corpus, database: Database[dict[str, Any]]) -> None:
    account = server.add_account(f"append-{uuid.uuid4().hex[:6]}")
    with server.starttls(account) as client:
        for name, message in messages:
            assert append(client, "INBOX", message), name
    check_octets(server, account, "INBOX", messages)
    # The large attachment of several messages, in several framings, was stored once, decoded.
    assert database["parts"].count_documents({"length": LARGE}) == 1


def test_lmtp(server: ServerProcess, messages: Corpus) -> None:
    """By DATA what it can carry; by BDAT what ends otherwise; with BINARYMIME what has a CR or LF alone, which is
    refused without it. The sender tells which message it is, so that none is taken for another's repetition."""
    account = server.add_account(f"lmtp-{uuid.uuid4().hex[:6]}")
    expected = []
    with server.lmtp() as client:
        for number, (name, message) in enumerate(messages):
            sender = f"m{number}@example.org"
            bare = BARE.search(message) is not None
            if bare:
                assert chunks(client, message, account.address, sender) == (550, "5.6.11"), name
                assert chunks(client, message, account.address, sender, "BODY=BINARYMIME") == (250, "2.0.0"), name
            elif not message.endswith(b"\r\n"):
                assert chunks(client, message, account.address, sender) == (250, "2.0.0"), name
            else:
                [(code, said)] = deliver(client, message, account.address, sender=sender)
                assert code == 250, (name, said)
            expected.append(
                (name, f"Return-Path: <{sender}>\r\nDelivered-To: {account.address}\r\n".encode() + message)
            )
    check_octets(server, account, "INBOX", expected)


def test_copies(server: ServerProcess, messages: Corpus) -> None:
    """COPY and MOVE share the content: the octets stay the same when the original is gone."""
    account = server.add_account(f"copies-{uuid.uuid4().hex[:6]}")
    some = messages[:: max(1, len(messages) // 40)]
    with server.starttls(account) as client:
        for _, message in some:
            append(client, "INBOX", message)
    with server.imap(account) as client:
        for name in ("Copied", "Moved"):
            client.create_folder(name)
        client.select_folder("INBOX")
        client.copy(client.search(), "Copied")
        client.move(client.search(), "Moved")
        assert client.search() == []
        client.select_folder("Moved")
        client.delete_messages(client.search())
        client.expunge()
    check_octets(server, account, "Copied", some)


def append(client: imaplib.IMAP4, mailbox: str, message: bytes) -> bool:
    """APPEND of these octets: the client's own method would make CRLF of every CR or LF that stands alone."""
    tag = client._new_tag()
    client.send(tag + f" APPEND {mailbox} {{{len(message)}+}}\r\n".encode() + message + b"\r\n")
    status, [said] = client._command_complete("APPEND", tag)
    return status == "OK" and b"APPENDUID" in said


def chunks(client: smtplib.LMTP, message: bytes, recipient: str, sender: str, *options: str) -> tuple[int, str]:
    """Delivers by BDAT in two chunks; code and enhanced status of the end."""
    replies = [client.mail(sender, options), client.rcpt(recipient)]
    assert [code for code, _ in replies] == [250, 250], replies
    half = len(message) // 2
    client.send(f"BDAT {half}\r\n".encode() + message[:half])
    code, said = client.getreply()
    client.send(f"BDAT {len(message) - half} LAST\r\n".encode() + message[half:])
    if code == 250:
        code, said = client.getreply()
    else:
        # RFC 3030 §2: after a failed chunk only RSET helps.
        assert client.getreply()[0] == 503
        client.rset()
    return code, said.split()[0].decode()
