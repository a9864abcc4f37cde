"""Mail sent by the API of a whole server: read by IMAP in Sent, and delivered by the queue to a second real server."""

import email
import email.policy
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.queued import Queued
from tests.support.relay import Relay
from tests.support.server_process import Account, Databases, ServerProcess, wait_until


@pytest.fixture(scope="module")
def server(
    relay: Relay, module_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    outbound = {"relay": f"smtp://127.0.0.1:{relay.port}", "schedule": ["300 ms", 1]}
    with ServerProcess(tmp_path_factory.mktemp("api"), module_databases, {"outbound": outbound}) as running:
        yield running


@pytest.fixture
def anna(server: ServerProcess, request: pytest.FixtureRequest) -> Account:
    return server.add_account("anna." + request.node.name.replace("_", "-")[:40])


@pytest.fixture
def user(anna: Account) -> str:
    return f"/users/{anna.id}"


@pytest.fixture
def address(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Addresses elsewhere that no other test uses."""
    domain = request.node.name.replace("_", "-")[:40]
    return lambda name: f"{name}@{domain}.example"


def _mailbox(server: ServerProcess, user: str, use: str) -> str:
    rows = server.api("GET", f"{user}/mailboxes")["results"]
    return next(str(row["id"]) for row in rows if row.get("specialUse") == use)


def test_submit(
    server: ServerProcess, relay: Relay, anna: Account, user: str, address: Callable[[str], str], queue: Queued
) -> None:
    body = {
        "to": [{"name": "Jörg", "address": address("to")}],
        "bcc": [{"address": address("bcc")}],
        "subject": "Grüße",
        "text": "one ü",
        "attachments": [{"content": "AP8=", "filename": "ü.bin"}],
    }
    made = server.api("POST", f"{user}/submit", body)["message"]
    assert queue.ended(made["queueId"]) == {
        address("to"): ("relayed", "2.0.0", 1),
        address("bcc"): ("relayed", "2.0.0", 1),
    }
    [taken] = relay.seen(address("to"))
    assert (taken.sender, set(taken.recipients)) == (anna.address, {address("to"), address("bcc")})
    assert b"\r\nbcc:" not in taken.octets.lower()
    assert address("bcc").encode() not in taken.octets
    sent = email.message_from_bytes(taken.octets, policy=email.policy.default)
    assert (sent["Subject"], sent["From"], sent["To"]) == ("Grüße", anna.address, f"Jörg <{address('to')}>")
    [kept] = server.messages(anna, "Sent Mail")
    own = email.message_from_bytes(kept, policy=email.policy.default)
    assert own["Bcc"] == address("bcc")
    for name in ("Message-ID", "Date", "Subject", "From", "To"):
        assert own[name] == sent[name]
    parts = [part.get_payload(decode=True) for part in own.walk() if not part.is_multipart()]
    assert parts == ["one ü\r\n".encode(), b"\0\xff"]
    assert parts == [part.get_payload(decode=True) for part in sent.walk() if not part.is_multipart()]
    with server.imap(anna) as client:
        client.select_folder("Sent Mail")
        assert client.get_flags([made["id"]])[made["id"]][:1] == (b"\\Seen",)


def test_a_draft_of_a_mail_program_is_sent_later(
    server: ServerProcess, relay: Relay, anna: Account, user: str, address: Callable[[str], str], queue: Queued
) -> None:
    draft = f"From: {anna.address}\r\nTo: {address('to')}\r\nSubject: later\r\n\r\nbody\r\n".encode()
    with server.imap(anna) as client:
        client.append("Drafts", draft, ["\\Draft"])
    box = _mailbox(server, user, "\\Drafts")
    later = datetime.now(UTC) + timedelta(seconds=2)
    done = server.api("POST", f"{user}/mailboxes/{box}/messages/1/submit", {"sendTime": later.isoformat()})
    assert not relay.seen(address("to"))
    assert server.messages(anna, "Drafts") == []
    assert queue.ended(done["queueId"]) == {address("to"): ("relayed", "2.0.0", 1)}
    assert datetime.now(UTC) >= later
    [taken] = relay.seen(address("to"))
    assert taken.octets.endswith(b"\r\n\r\nbody\r\n")
    assert len(server.messages(anna, "Sent Mail")) == 1


def test_to_an_account_here_and_on_from_it(
    server: ServerProcess, relay: Relay, anna: Account, user: str, address: Callable[[str], str]
) -> None:
    bert = server.add_account("bert.on")
    server.api("POST", f"{user}/submit", {"to": [{"address": bert.address}], "subject": "hi", "text": "here"})
    wait_until(lambda: server.messages(bert), 10, "the message")
    [octets] = server.messages(bert)
    mine = f"/users/{bert.id}"
    inbox = next(row["id"] for row in server.api("GET", f"{mine}/mailboxes")["results"] if row["path"] == "INBOX")
    server.api("POST", f"{mine}/mailboxes/{inbox}/messages/1/forward", {"addresses": [address("on")]})
    wait_until(lambda: relay.seen(address("on")), 10, "the message sent on")
    [taken] = relay.seen(address("on"))
    assert taken.sender == bert.address
    assert taken.octets.endswith(octets[octets.index(b"From:") :])


def test_a_message_taken_back_is_not_sent(
    server: ServerProcess, relay: Relay, user: str, address: Callable[[str], str], queue: Queued
) -> None:
    later = (datetime.now(UTC) + timedelta(seconds=3)).isoformat()
    body = {"to": [{"address": address("to")}], "text": "t", "sendTime": later}
    identifier = server.api("POST", f"{user}/submit", body)["message"]["queueId"]
    assert server.api("DELETE", f"{user}/outbound/{identifier}") == {"success": True}
    assert queue.ended(identifier) == {address("to"): ("removed", "5.7.1", 0)}
    assert not relay.seen(address("to"))
