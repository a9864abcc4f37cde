"""What the API says about addresses, as LMTP, IMAP and submission then do."""

import imaplib
import smtplib
from collections.abc import Iterator
from unittest.mock import ANY

import pytest

from tests.support.net import client_context
from tests.support.queued import Queued
from tests.support.server_process import Databases, ServerProcess, deliver, make_message, wait_until


@pytest.fixture(scope="module")
def server(module_databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("delivery"), module_databases) as running:
        yield running


def rcpt(server: ServerProcess, address: str) -> int:
    with server.lmtp() as client:
        client.mail("sender@example.org")
        return client.rcpt(address)[0]


def test_addresses_receive_send_and_sign_in(server: ServerProcess, queue: Queued) -> None:
    anna, bert = server.add_account("anna.addresses"), server.add_account("bert.addresses")
    made = server.api("POST", f"/users/{anna.id}/addresses", {"address": "anna@first.test"})["id"]
    server.api("POST", f"/users/{anna.id}/addresses", {"address": "sales*@first.test", "allowWildcard": True})
    alias = server.api("POST", "/domainaliases", {"alias": "second.test", "domain": "first.test"})["id"]
    for address in ("an.na+x@first.test", "anna@second.test", "sales.eu@first.test", "sales@second.test"):
        message = make_message(f"to {address}", to=address)
        server.deliver(message, address)
        assert any(each.endswith(message) for each in server.messages(anna)), address
    assert rcpt(server, "nobody@first.test") == 550
    # It signs in, and is one of those that may be written as; a stranger's is not.
    with server.submission(bert) as client, pytest.raises(smtplib.SMTPSenderRefused):
        client.sendmail("anna@first.test", [bert.address], make_message("forged", sender="anna@first.test"))
    for name in ("anna@first.test", "anna@second.test"):
        with imaplib.IMAP4_SSL("127.0.0.1", server.imaps_port, ssl_context=client_context()) as imap:
            assert imap.login(name, anna.password)[0] == "OK"
        with server.submission(anna) as client:
            assert client.mail(name)[0] == 250
    # Taken away, nobody gets its mail any more.
    server.api("DELETE", f"/users/{anna.id}/addresses/{made}")
    server.api("DELETE", f"/domainaliases/{alias}")


def test_an_address_taken_away_is_unknown(server: ServerProcess) -> None:
    anna = server.add_account("anna.away")
    made = server.api("POST", f"/users/{anna.id}/addresses", {"address": "gone@gone.test"})["id"]
    server.api("DELETE", f"/users/{anna.id}/addresses/{made}")
    assert rcpt(server, "gone@gone.test") == 550


def test_a_renamed_domain_receives_under_its_new_name(server: ServerProcess) -> None:
    anna = server.add_account("anna.renamed")
    server.api("POST", f"/users/{anna.id}/addresses", {"address": "anna@old.test"})
    server.api("PUT", "/addresses/renameDomain", {"oldDomain": "old.test", "newDomain": "new.test"})
    message = make_message("renamed")
    with server.lmtp() as client:
        assert deliver(client, message, "anna@new.test")[0][0] == 250
    assert rcpt(server, "anna@old.test") == 550
    assert [each.endswith(message) for each in server.messages(anna)] == [True]


def subject_of(message: bytes) -> bytes:
    return message.partition(b"Subject: ")[2].partition(b"\r\n")[0]


def with_header(message: bytes, line: str) -> bytes:
    return f"{line}\r\n".encode() + message


def test_spam_by_a_trusted_relays_header_goes_to_junk(server: ServerProcess) -> None:
    anna = server.add_account("anna.junk")
    strict, careless = (
        server.add_account("strict.junk", spamLevel=25),
        server.add_account("careless.junk", spamLevel=100),
    )
    rejected = with_header(make_message("rejected"), "X-Rspamd-Action: reject")
    doubtful = with_header(make_message("doubtful"), "X-Rspamd-Action: add header")
    for message in (rejected, doubtful, with_header(make_message("flagged"), "X-Spam-Flag: YES")):
        server.deliver(message, anna.address, strict.address, careless.address)
    counts = {
        account.id: [len(server.messages(account, name)) for name in ("INBOX", "Junk")]
        for account in (anna, strict, careless)
    }
    assert counts == {anna.id: [1, 2], strict.id: [0, 3], careless.id: [3, 0]}


def test_domain_lists_of_tags_decide_before_all_else(server: ServerProcess) -> None:
    anna = server.add_account("anna.tags", tags=["Staff"])
    server.api("POST", "/domainaccess/STAFF/block", {"domain": "Bad.Example"})
    server.api("POST", "/domainaccess/staff/allow", {"domain": "good.example"})
    server.deliver(make_message("bad", sender="x@bad.example"), anna.address)
    good = with_header(make_message("good", sender="x@good.example"), "X-Rspamd-Action: reject")
    server.deliver(good, anna.address)
    server.deliver(make_message("other", sender="x@other.example"), anna.address)
    assert [len(server.messages(anna, name)) for name in ("INBOX", "Junk")] == [2, 1]


def test_filters_file_mark_and_drop(server: ServerProcess) -> None:
    anna = server.add_account("anna.filters")
    path = f"/users/{anna.id}/filters"
    server.api("POST", path, {"query": {"subject": "READ"}, "action": {"seen": True, "flag": True}})
    server.api("POST", path, {"query": {"text": '"very secret"'}, "action": {"delete": True}})
    off = server.api("POST", path, {"query": {"subject": "off"}, "action": {"delete": True}, "disabled": True})["id"]
    spam = server.api("POST", path, {"query": {"from": "pest@"}, "action": {"spam": True}})["id"]
    server.deliver(make_message("to read"), anna.address)
    server.deliver(make_message("dropped", "this is very secret"), anna.address)
    server.deliver(make_message("off"), anna.address)
    server.deliver(make_message("pest", sender="pest@example.org"), anna.address)
    assert [len(server.messages(anna, name)) for name in ("INBOX", "Junk")] == [2, 1]
    with server.imap(anna) as client:
        client.select_folder("INBOX", readonly=True)
        assert len(client.search(["SEEN", "FLAGGED", "SUBJECT", "to read"])) == len(client.search(["SEEN"])) == 1
    listed = server.api("GET", path)
    assert listed["limits"] == {"allowed": 400, "used": 4}
    assert listed["results"][1]["query"] == [[False, '""very secret""']]
    assert listed["results"][0]["action"] == [["mark as read"], ["flag it"]]
    server.api("PUT", f"{path}/{off}", {"disabled": False, "action": {"delete": ""}})
    assert server.api("GET", f"{path}/{off}")["action"] == {}
    server.api("DELETE", f"{path}/{spam}")
    server.api("PUT", f"/users/{anna.id}", {"name": "Anna"})


def test_what_is_sent_on(server: ServerProcess, queue: Queued) -> None:
    """By the account, by a filter although it drops the message, and by an address that only forwards; once."""
    bert, cora = server.add_account("bert.forward"), server.add_account("cora.forward")
    anna = server.add_account("anna.forward", targets=[bert.address, "https://hook.example/x"])
    action = {"delete": True, "targets": [cora.address]}
    server.api("POST", f"/users/{anna.id}/filters", {"query": {"subject": "drop"}, "action": action})
    server.api(
        "POST", "/addresses/forwarded", {"address": "team@forward.test", "targets": [bert.address, cora.address]}
    )
    for _ in range(2):
        server.deliver(make_message("kept"), anna.address)
        server.deliver(make_message("drop this"), anna.address)
        server.deliver(make_message("for all"), "team@forward.test")
    server.deliver(with_header(make_message("pest"), "X-Rspamd-Action: reject"), anna.address)
    wait_until(lambda: len(server.messages(bert)) + len(server.messages(cora)) == 4, 60, "what was sent on")
    subjects = {account.id: sorted(map(subject_of, server.messages(account))) for account in (anna, bert, cora)}
    assert subjects == {anna.id: [b"kept"], bert.id: [b"for all", b"kept"], cora.id: [b"drop this", b"for all"]}


def test_two_accounts_that_send_each_other_everything(server: ServerProcess) -> None:
    anna, bert = server.add_account("anna.circle"), server.add_account("bert.circle")
    server.api("PUT", f"/users/{anna.id}", {"targets": [bert.address]})
    server.api("PUT", f"/users/{bert.id}", {"targets": [anna.address]})
    server.deliver(make_message("round"), anna.address)
    wait_until(lambda: len(server.messages(anna)) == 2, 60, "the message to come back")
    assert (len(server.messages(anna)), len(server.messages(bert))) == (2, 1)


def test_more_than_a_days_forwards_stays_here(server: ServerProcess) -> None:
    bert = server.add_account("bert.limit")
    anna = server.add_account("anna.limit", targets=[bert.address], forwards=1)
    team = {"address": "team@limit.test", "targets": [bert.address], "forwards": 1}
    made = server.api("POST", "/addresses/forwarded", team)["id"]
    for number in range(2):
        server.deliver(make_message(f"number {number}"), anna.address)
    assert len(server.messages(anna)) == 2
    wait_until(lambda: len(server.messages(bert)) == 1, 60, "the first one")
    with server.lmtp() as client:
        assert [deliver(client, make_message(f"team {number}"), "team@limit.test")[0][0] for number in range(2)] == [
            250, 450,
        ]  # fmt: skip
    used = server.api("GET", f"/addresses/forwarded/{made}")["limits"]["forwards"]
    assert (used["allowed"], used["used"], used["ttl"] > 0) == (1, 1, True)


def test_an_autoreply_is_sent_once(server: ServerProcess) -> None:
    anna, bert = server.add_account("anna.reply"), server.add_account("bert.reply")
    body = {"status": True, "subject": "Away", "text": "Back on Monday"}
    server.api("PUT", f"/users/{anna.id}/autoreply", body)
    for number in range(2):
        server.deliver(make_message(f"hello {number}", to=anna.address), anna.address, sender=bert.address)
    server.deliver(with_header(make_message("list", to=anna.address), "Precedence: list"), anna.address)
    wait_until(lambda: server.messages(bert), 60, "the answer")
    (answer,) = server.messages(bert)
    assert answer.startswith(b"Return-Path: <>\r\n")
    for line in (b"Subject: Auto: Away", b"Auto-Submitted: auto-replied", b"In-Reply-To: <hello-0@example.org>"):
        assert b"\r\n" + line + b"\r\n" in answer
    assert len(server.messages(anna)) == 3
    assert server.api("GET", f"/users/{anna.id}")["autoreply"] is True
    server.api("DELETE", f"/users/{anna.id}/autoreply")
    assert server.api("GET", f"/users/{anna.id}/autoreply")["status"] is False


def test_a_forwarded_address_answers_too(server: ServerProcess) -> None:
    bert, cora = server.add_account("bert.team"), server.add_account("cora.team")
    team = {"address": "team@answers.test", "targets": [bert.address], "autoreply": {"text": "We got it"}}
    server.api("POST", "/addresses/forwarded", team)
    for _ in range(2):
        server.deliver(make_message("help", to="team@answers.test"), "team@answers.test", sender=cora.address)
    wait_until(lambda: server.messages(cora) and server.messages(bert), 60, "both")
    (answer,) = server.messages(cora)
    assert b"From: team@answers.test\r\n" in answer
    assert len(server.messages(bert)) == 1


def test_a_forwarded_address_that_is_off_or_has_had_enough(server: ServerProcess) -> None:
    bert = server.add_account("bert.some")
    team = {"address": "some@forward.test", "targets": [bert.address], "forwards": 1}
    path = f"/addresses/forwarded/{server.api('POST', '/addresses/forwarded', team)['id']}"
    assert rcpt(server, "some@forward.test") == 250
    for off, code in ((True, 550), (False, 250)):
        server.api("PUT", path, {"forwardedDisabled": off})
        wait_until(lambda code=code: rcpt(server, "some@forward.test") == code, 30, "the address as it is now")
    server.deliver(make_message("the first", to="some@forward.test"), "some@forward.test")
    wait_until(lambda: server.messages(bert), 30, "the first")
    with server.lmtp() as client:
        second = make_message("the second", to="some@forward.test")
        [(code, _)] = deliver(client, second, "some@forward.test", sender="sender@example.org")
    assert 400 <= code < 500  # tomorrow again
    assert server.api("GET", path)["limits"]["forwards"] == {"allowed": 1, "used": 1, "ttl": ANY}


def test_correspondents_are_noted(server: ServerProcess) -> None:
    anna = server.add_account("anna.noted")
    server.deliver(make_message("hi", sender="wanda@away.example"), anna.address)
    server.deliver(with_header(make_message("news", sender="news@away.example"), "List-Id: <x.y>"), anna.address)

    def found(query: str) -> list[str]:
        results = server.api("GET", f"/users/{anna.id}/addressregister?query={query}")["results"]
        return [each["address"] for each in results]

    wait_until(lambda: found("wanda"), 60, "the register")
    assert found("news@") == []


def test_limits_of_what_is_received(process: ServerProcess) -> None:
    process.configure({"limits": {"received": 5}, "lmtp": {"over_quota": "defer", "spam_peers": []}})
    with process as server:
        anna, bert = server.add_account("anna"), server.add_account("bert", receivedMax=2)
        full = server.add_account("full", quota=1000)
        server.deliver(make_message("fills", "x" * 600), full.address)
        codes = {account.address: [] for account in (anna, bert)}  # type: dict[str, list[int]]
        for number in range(7):
            for address, found in codes.items():
                with server.lmtp() as client:
                    client.mail("sender@example.org")
                    code, text = client.rcpt(address)
                    found.append(code)
                    assert code == 250 or text.startswith(b"4.2.1 ")
                if code == 250:
                    server.deliver(make_message(f"number {number}"), address)
        assert codes == {anna.address: [250] * 5 + [450] * 2, bert.address: [250] * 2 + [450] * 5}
        with server.lmtp() as client:
            client.mail("sender@example.org", ["SIZE=2000"])
            code, text = client.rcpt(full.address)
        assert (code, text[:6]) == (452, b"4.2.2 ")
        trusted = server.add_account("nobody.is.believed")
        server.deliver(with_header(make_message("pest"), "X-Rspamd-Action: reject"), trusted.address)
        assert len(server.messages(trusted)) == 1
