"""`duckmail trace` and `GET /duckmail/trace`: one message from its arrival to the words of the server it is sent to."""

import http.client
import json
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.relay import Relay
from tests.support.server_process import HOST, Account, Databases, ServerProcess, make_message, wait_until

WAIT = 20.0
AWAY = "far@away.example"
REFUSED = "450 4.2.0 Mailbox is busy\x1b[31m"


@pytest.fixture(scope="module")
def server(
    relay: Relay, module_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    sections = {"outbound": {"relay": f"smtp://127.0.0.1:{relay.port}", "schedule": ["0.1 s", "1 h"]}}
    with ServerProcess(tmp_path_factory.mktemp("trace"), module_databases, sections) as running:
        yield running


def story(server: ServerProcess, message_id: str, steps: int) -> list[dict[str, Any]]:
    """As soon as it has so many steps."""
    return looked_for(server, f"messageId={urllib.parse.quote(message_id)}", steps)


def looked_for(server: ServerProcess, query: str, steps: int) -> list[dict[str, Any]]:
    """As soon as there are so many steps."""
    path = f"/duckmail/trace?{query}"

    def found() -> list[dict[str, Any]]:
        results: list[dict[str, Any]] = server.api("GET", path)["results"]
        return results

    wait_until(lambda: len(found()) >= steps, WAIT, f"{steps} steps of {query}")
    return found()


def asked(server: ServerProcess, account: Account, query: str) -> tuple[int, dict[str, Any]]:
    """With a token of the account's own."""
    sign_in = {"username": account.address, "password": account.password, "token": True}
    headers = {"X-Access-Token": server.api("POST", "/authenticate", sign_in)["token"]}
    connection = http.client.HTTPConnection(HOST, server.port("API"), timeout=WAIT)
    try:
        connection.request("GET", f"/duckmail/trace?{query}", headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_in_and_out_again(server: ServerProcess, relay: Relay) -> None:
    """Filed by a filter, sent on, deferred once and taken."""
    anna, bert = server.add_account("anna.trace"), server.add_account("bert.trace")
    work = server.api("POST", f"/users/{anna.id}/mailboxes", {"path": "Work"})["id"]
    rules = f"/users/{anna.id}/filters"
    rule = {"query": {"subject": "report"}, "action": {"mailbox": work, "targets": [AWAY]}}
    decider = server.api("POST", rules, {"name": "reports", **rule})["id"]
    server.api("POST", rules, {"name": "another", "query": {"subject": "invoice"}, "action": {"seen": True}})
    relay.replies[AWAY] = [REFUSED, "250 2.1.5 Ok"]
    server.deliver(make_message("report one", body="content"), anna.address, bert.address)

    steps = story(server, "<report-one@example.org>", 5)
    assert sorted(step["step"] for step in steps) == ["attempt", "attempt", "delivery", "delivery", "queued"]
    delivered = {step["user"]: step["about"] for step in steps if step["step"] == "delivery"}
    ours = delivered[anna.id]
    assert ours["filters"] == [{"id": decider, "name": "reports"}]
    assert (ours["result"], ours["mailbox"], ours["path"], ours["uid"]) == ("stored", work, "Work", 1)
    assert (ours["protocol"], ours["from"], ours["sender"]) == ("LMTP", "127.0.0.1", "sender@example.org")
    assert (ours["recipient"], ours["forwarded"]) == (anna.address, [AWAY])
    assert (delivered[bert.id]["path"], "filters" in delivered[bert.id]) == ("INBOX", False)
    (queued,) = [step["about"] for step in steps if step["step"] == "queued"]
    assert (queued["origin"], queued["recipients"]) == ("forward", [AWAY])
    first, second = [step["about"]["recipients"][0] for step in steps if step["step"] == "attempt"]
    assert (first["state"], first["code"], first["status"]) == ("waiting", 450, "4.2.0")
    assert "Mailbox is busy" in first["reply"]
    assert (second["state"], second["code"], second["address"]) == ("relayed", 250, AWAY)
    assert "content" not in json.dumps(steps).lower()

    status, mine = asked(server, bert, "messageId=report-one@example.org")
    assert (status, [step["user"] for step in mine["results"]]) == (200, [bert.id]), "only what is his own"
    assert asked(server, bert, "messageId=unknown@example.org")[1]["results"] == []
    assert asked(server, bert, "")[1]["code"] == "InputValidationError"

    told = server.run("trace", "report-one@example.org")
    assert told.returncode == 0, told
    for words in ("delivery", "name reports", "Work", "Mailbox is busy", "attempt"):
        assert words in told.stdout
    assert "\x1b" not in told.stdout
    rows = [json.loads(line) for line in server.run("trace", "<report-one@example.org>", "--json").stdout.splitlines()]
    assert [row["id"] for row in rows] == [step["id"] for step in steps]
    nothing = server.run("trace", "unknown@example.org")
    assert (nothing.returncode, nothing.stdout) == (1, "nothing is known of this message\n")


def test_sent_by_its_author(server: ServerProcess, relay: Relay) -> None:
    carl = server.add_account("carl.trace")
    relay.replies[AWAY] = ["550 5.1.1 Nobody here"]
    identifier = server.submit(carl, make_message("mine", sender=carl.address), AWAY)
    queued, tried = story(server, "mine@example.org", 2)[:2]
    assert (queued["step"], queued["user"], queued["about"]["origin"]) == ("queued", carl.id, "submission")
    assert (tried["about"]["queue"], tried["user"]) == (identifier, carl.id)
    (recipient,) = tried["about"]["recipients"]
    assert (recipient["state"], recipient["code"]) == ("failed", 550)
    assert "Nobody here" in recipient["reply"]


def test_what_was_not_taken(server: ServerProcess) -> None:
    """By LMTP and by submission: found by address, client and connection."""
    dora = server.add_account("dora.trace")
    domain = dora.address.partition("@")[2]
    with server.lmtp() as relay:
        relay.docmd("XFORWARD", "ADDR=192.0.2.7 NAME=far.example")
        relay.mail("far@away.example")
        assert relay.rcpt(f"nobody@{domain}")[0] == 550
    (unknown,) = looked_for(server, f"address=nobody@{domain}", 1)
    about = unknown["about"]
    assert (unknown["step"], about["stage"], about["reason"]) == ("refused", "recipient", "unknown")
    assert (about["protocol"], about["client"], about["sender"]) == ("LMTP", "192.0.2.7", "far@away.example")
    told = server.run("trace", "--client", "192.0.2.7", "--session", about["connection"])
    assert (told.returncode, "No such recipient" in told.stdout) == (0, True), told

    with server.submission(dora) as client:
        client.mail("somebody@else.example")
        client.rset()
        client.mail(dora.address)
        assert client.rcpt(f"missing@{domain}")[0] == 550
    (sender,) = looked_for(server, "client=127.0.0.1&address=somebody@else.example", 1)
    (recipient,) = looked_for(server, f"address=missing@{domain}", 1)
    assert [sender["about"]["stage"], recipient["about"]["stage"]] == ["sender", "recipient"]
    assert (sender["user"], recipient["user"]) == (dora.id, dora.id)
    status, mine = asked(server, dora, f"address=missing@{domain}")
    assert (status, [each["id"] for each in mine["results"]]) == (200, [recipient["id"]])
    assert asked(server, dora, f"address=nobody@{domain}")[1]["results"] == [], "what is nobody's is not his"


def test_without_a_message_id(server: ServerProcess, relay: Relay) -> None:
    """Both halves under one name, which the id leads to that the API shows."""
    emil = server.add_account("emil.trace")
    server.api("PUT", f"/users/{emil.id}", {"targets": [AWAY]})
    server.deliver(b"From: sender@example.org\r\nSubject: nameless\r\n\r\nbody\r\n", emil.address)
    inbox = next(
        each for each in server.api("GET", f"/users/{emil.id}/mailboxes")["results"] if each["path"] == "INBOX"
    )
    shown = server.api("GET", f"/users/{emil.id}/mailboxes/{inbox['id']}/messages/1")["messageId"]
    (delivered,) = looked_for(server, f"messageId={urllib.parse.quote(shown)}", 1)
    assert (delivered["step"], delivered["user"]) == ("delivery", emil.id)
    steps = looked_for(server, f"messageId={delivered['messageId']}", 3)
    assert sorted(step["step"] for step in steps) == ["attempt", "delivery", "queued"]
    (tried,) = [step["about"] for step in steps if step["step"] == "attempt"]
    assert [step["about"]["queue"] for step in looked_for(server, f"queue={tried['queue']}", 1)] == [tried["queue"]]


def test_what_cannot_be_looked_for(server: ServerProcess) -> None:
    said = server.run("trace", "--after", "2026-01-01")
    assert (said.returncode, said.stdout) == (2, "")
    assert "MESSAGE-ID" in said.stderr
    assert server.run("trace", "--before", "yesterday", "a@b").returncode == 2
