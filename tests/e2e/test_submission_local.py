"""Submission to accounts here: who gets it, who may send as what, and the sender's own copy."""

import re
import smtplib
from collections.abc import Callable, Iterator

import pymongo
import pytest
from bson.objectid import ObjectId

from duckmail.model.address import view
from storage.addresses import new_document
from tests.support.queued import Queued
from tests.support.server_process import DOMAIN, Account, Databases, ServerProcess, make_message

Give = Callable[[Account, str], object]


@pytest.fixture(scope="module")
def server(module_databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("local"), module_databases) as running:
        yield running


@pytest.fixture
def new(server: ServerProcess, request: pytest.FixtureRequest) -> Callable[..., Account]:
    words = re.sub(r"\W+", "-", request.node.name.lower())[:40].strip("-_")
    return lambda name, **more: server.add_account(f"{name}.{words}", **more)


@pytest.fixture
def give(module_databases: Databases) -> Iterator[Give]:
    """Gives an account another address; by the database, there being no other way yet."""
    with pymongo.MongoClient[dict[str, object]](module_databases.mongo_uri) as client:
        addresses = client[module_databases.name]["addresses"]
        yield lambda account, address: addresses.insert_one(new_document(address, view(address), ObjectId(account.id)))


def test_one_account_to_another(server: ServerProcess, queue: Queued, new: Callable[..., Account], give: Give) -> None:
    """By its address, an alias, a label and the catch-all of a domain; two names of one account get one message."""
    anna, bert, cora = new("anna"), new("bert"), new("cora")
    give(bert, "other.name@aliases.test")
    give(cora, "*@everything.test")
    label = bert.address.replace("@", "+label@")
    message = make_message("hello", "a line\n.\nGrüße", sender=anna.address, to=bert.address)
    everybody = [bert.address, "other.name@aliases.test", label, "who.ever@everything.test"]
    identifier = server.submit(anna, message, *everybody, mail_options=["BODY=8BITMIME"])
    assert queue.ended(identifier) == {address: ("delivered", "2.1.5", 1) for address in everybody}
    for account, to in ((bert, bert.address), (cora, "who.ever@everything.test")):
        [stored] = server.messages(account)
        head, _, rest = stored.partition(b"Received: ")
        assert head == f"Return-Path: <{anna.address}>\r\nDelivered-To: {to}\r\n".encode()
        assert rest.startswith(b"from client (authenticated)\r\n\tby mail.test with ESMTPSA id ")
        assert rest.endswith(b"\r\n" + message)
    queue.told(anna, 0)


def test_who_gets_no_mail_is_refused_at_rcpt(server: ServerProcess, queue: Queued, new: Callable[..., Account]) -> None:
    anna, bert = new("anna"), new("bert")
    full, tight, away = new("full", quota=1000), new("tight", quota=20_000), new("away")
    server.deliver(make_message("fills", "x" * 600), full.address)
    server.api("PUT", f"/users/{away.id}", {"disabled": True})
    message = make_message("large", "y" * 30_000, sender=anna.address)
    with server.submission(anna) as client:
        assert client.mail(anna.address, [f"SIZE={len(message)}"])[0] == 250
        for address, code, status in (
            (f"nobody.at.all@{DOMAIN}", 550, b"5.1.1"),
            (away.address, 550, b"5.2.1"),
            (full.address, 552, b"5.2.2"),
            (tight.address, 552, b"5.2.2"),
            ("name@unqualified", 550, b"5.1.2"),
            ("name@[127.0.0.1]", 550, b"5.1.2"),
        ):
            found, said = client.rcpt(address)
            assert (address, found, said.split()[0]) == (address, code, status)
        assert client.rcpt(bert.address)[0] == 250
        code, said = client.data(message)
        assert code == 250
    assert queue.ended(said.split()[-1].decode()) == {bert.address: ("delivered", "2.1.5", 1)}
    assert len(server.messages(bert)) == 1
    queue.told(anna, 0)


def test_who_is_full_by_then_bounces(server: ServerProcess, queue: Queued, new: Callable[..., Account]) -> None:
    """Without SIZE nobody can know at RCPT."""
    anna, tight = new("anna"), new("tight", quota=20_000)
    message = make_message("large", "y" * 30_000, sender=anna.address)
    identifier = server.submit(anna, message, tight.address)
    assert queue.ended(identifier) == {tight.address: ("failed", "5.2.2", 1)}
    [report] = queue.told(anna)
    assert report.statuses == {tight.address: ("failed", "5.2.2")}
    assert "diagnostic-code" not in report.recipients[tight.address]
    assert server.messages(tight) == []


def test_nobody_sends_as_another(server: ServerProcess, queue: Queued, new: Callable[..., Account], give: Give) -> None:
    anna, bert = new("anna", fromWhitelist=["*@listed.test"]), new("bert")
    give(anna, "second.anna@aliases.test")
    with server.submission(anna) as client:
        code, said = client.mail(bert.address)
        assert (code, said.split()[0]) == (553, b"5.7.1")
        for envelope, written, expected in (
            (anna.address, bert.address, (553, b"5.7.1")),
            (anna.address, f"{anna.address}>, <{bert.address}", (553, b"5.7.1")),
            ("second.anna@aliases.test", "second.anna@aliases.test", (250, b"2.0.0")),
            ("", anna.address, (250, b"2.0.0")),
            ("any@listed.test", "other@listed.test", (250, b"2.0.0")),
        ):
            assert client.mail(envelope)[0] == 250
            assert client.rcpt(bert.address)[0] == 250
            code, said = client.data(make_message(f"as {written}", sender=written))
            assert (written, code, said.split()[0]) == (written, *expected)
    queue.all_ended()
    paths = [octets.partition(b"\r\n")[0] for octets in server.messages(bert)]
    assert paths == [b"Return-Path: <second.anna@aliases.test>", b"Return-Path: <>", b"Return-Path: <any@listed.test>"]


@pytest.mark.parametrize("wanted", [True, False], ids=["wanted", "not-wanted"])
def test_the_copy_in_sent(wanted: bool, server: ServerProcess, queue: Queued, new: Callable[..., Account]) -> None:
    """Once, read, octet for octet what was sent; also of a message that still waits for its way."""
    anna, bert = new("anna", uploadSentMessages=wanted), new("bert")
    message = make_message("kept", ".\n..\nGrüße", sender=anna.address)
    identifier = server.submit(anna, message, bert.address, "elsewhere@away.test", mail_options=["BODY=8BITMIME"])
    # In the same commit: it is there when the answer is.
    with server.imap(anna) as client:
        [sent] = [name for flags, _, name in client.list_folders() if b"\\Sent" in flags]
        client.select_folder(sent, readonly=True)
        uids = client.search()
        rows = client.fetch(uids, ["FLAGS", "BODY.PEEK[]"]) if uids else {}
    found = [(row[b"BODY[]"], b"\\Seen" in row[b"FLAGS"]) for row in rows.values()]
    assert found == ([(message, True)] if wanted else [])
    queue.tried(identifier)
    assert queue.fates(identifier) == {
        bert.address: ("delivered", "2.1.5", 1),
        "elsewhere@away.test": ("waiting", "4.4.4", 0),
    }
    assert server.run("queue", "remove", identifier).returncode == 0
    assert len(server.messages(anna, sent)) == len(found)
    assert server.messages(anna) == []


def test_no_room_for_the_copy_keeps_no_mail_back(
    server: ServerProcess, queue: Queued, new: Callable[..., Account]
) -> None:
    anna, bert = new("anna", uploadSentMessages=True, quota=500), new("bert")
    identifier = server.submit(anna, make_message("goes out", "x" * 600, sender=anna.address), bert.address)
    assert queue.ended(identifier) == {bert.address: ("delivered", "2.1.5", 1)}
    assert len(server.messages(bert)) == 1
    assert server.messages(anna, "Sent Mail") == []


def test_recipients_of_a_day(server: ServerProcess, queue: Queued, new: Callable[..., Account]) -> None:
    anna, bert = new("anna", recipients=3), new("bert")
    message = make_message("one of few", sender=anna.address)
    queue.ended(server.submit(anna, message, bert.address, bert.address.replace("@", "+two@")))
    with server.submission(anna) as client:
        client.mail(anna.address)
        assert client.rcpt(bert.address)[0] == 250
        code, said = client.rcpt(f"more{bert.address}")
        assert 400 <= code < 600
        assert b"daily sending limit" in said
        assert client.data(message)[0] == 250
        client.mail(anna.address)
        assert client.rcpt(bert.address)[0] == code
    queue.all_ended()
    assert len(server.messages(bert)) == 2


def test_without_a_login_nothing_is_taken(server: ServerProcess, new: Callable[..., Account]) -> None:
    """Submission is no relay, for nobody and for no recipient; passwords are not asked for in plaintext."""
    anna = new("anna")
    with smtplib.SMTP("127.0.0.1", server.submission_port(tls=False), timeout=20) as client:
        client.ehlo()
        assert not client.has_extn("auth")
        assert client.has_extn("starttls")
        assert client.mail(anna.address)[0] == 530
        assert client.docmd("AUTH", "PLAIN AGFubmEAc2VjcmV0")[0] == 538
