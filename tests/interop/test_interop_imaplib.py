"""imaplib, Python's own IMAP client: nearly every command it has, over STARTTLS and over implicit TLS."""

import contextlib
import imaplib
import re
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.support.net import client_context
from tests.support.server_process import CLIENT_SECONDS, HOST, Account, ServerProcess, make_message, wait_until

Open = Callable[[], AbstractContextManager[imaplib.IMAP4]]


@pytest.fixture(params=["starttls", "implicit-tls"])
def opened(request: pytest.FixtureRequest, server: ServerProcess, account: Account) -> Open:
    """Opens a session that is logged in."""

    def implicit() -> imaplib.IMAP4:
        client = imaplib.IMAP4_SSL(HOST, server.imaps_port, ssl_context=client_context(), timeout=CLIENT_SECONDS)
        client.login(account.address, account.password)
        return client

    return (lambda: server.starttls(account)) if request.param == "starttls" else implicit


def uid_of(answer: list[bytes]) -> str:
    """The UID in `[APPENDUID validity uid]`."""
    found = re.search(rb"APPENDUID \d+ (\d+)", answer[0])
    assert found, answer
    return found[1].decode()


def test_a_session_of_many_commands(opened: Open) -> None:
    first, second = make_message("first", "apples and pears"), make_message("second", "nothing but plums")
    with opened() as client:
        offered = set(client.capability()[1][-1].decode().split())
        assert {"IMAP4rev1", "UIDPLUS", "MOVE", "IDLE", "CONDSTORE", "NAMESPACE"} <= offered
        assert "LOGINDISABLED" not in offered
        assert client.namespace()[1] == [b'(("" "/")) (("Shared/" "/")) NIL']

        # Mailboxes
        assert client.create("Work/2026")[0] == "OK"
        assert client.create("Work/2026")[0] == "NO"
        assert client.rename("Work/2026", "Work/Old")[0] == "OK"
        assert client.subscribe("Work/Old")[0] == "OK"
        assert any(line.endswith(b"Work/Old") for line in client.lsub()[1])
        assert client.unsubscribe("Work/Old")[0] == "OK"
        assert not any((line or b"").endswith(b"Work/Old") for line in client.lsub()[1])
        assert [line for line in client.list('""', "Work*")[1] if b"Work/Old" in line]

        # Messages in
        assert client.append("INBOX", "(\\Flagged)", '"02-Nov-2026 10:00:00 +0100"', first)[0] == "OK"
        uid = uid_of(client.append("INBOX", None, None, second)[1])
        assert client.status("INBOX", "(MESSAGES UNSEEN UIDNEXT)")[1] == [b"INBOX (MESSAGES 2 UNSEEN 2 UIDNEXT 3)"]
        assert client.append("Nowhere", None, None, second)[0] == "NO"

        # Messages out
        assert client.select("INBOX") == ("OK", [b"2"])
        assert client.fetch("1", "(RFC822)")[1][0][1] == first
        assert client.fetch("2", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1][0][1] == b"Subject: second\r\n\r\n"
        flags = {imaplib.ParseFlags(line) for line in client.fetch("1:2", "(FLAGS)")[1]}
        assert {frozenset(each) - {b"\\Recent"} for each in flags} == {
            frozenset({b"\\Seen", b"\\Flagged"}),
            frozenset(),
        }
        assert imaplib.Internaldate2tuple(client.fetch("1", "(INTERNALDATE)")[1][0])

        # Searching
        assert client.search(None, "BODY", '"pears"')[1] == [b"1"]
        assert client.search(None, "(OR FROM sender SUBJECT absent) UNSEEN")[1] == [b"2"]
        assert client.uid("SEARCH", None, "NOT", "FLAGGED")[1] == [uid.encode()]

        # Changing
        assert client.store("2", "+FLAGS", "(\\Answered $Forwarded)")[0] == "OK"
        assert b"$Forwarded" in client.fetch("2", "(FLAGS)")[1][0]
        assert client.copy("1:2", "Work/Old")[0] == "OK"
        assert client.uid("MOVE", uid, "Work/Old")[0] == "OK"
        assert client.response("EXPUNGE")[1] == [b"2"]
        assert client.store("1", "FLAGS", "(\\Deleted)")[0] == "OK"
        assert client.expunge() == ("OK", [b"1"])
        assert client.search(None, "ALL")[1] == [b""]
        assert client.unselect()[0] == "OK"
        assert client.select("Work/Old", readonly=True) == ("OK", [b"3"])
        with contextlib.suppress(imaplib.IMAP4.readonly):
            assert client.store("1", "+FLAGS", "(\\Deleted)")[0] == "NO"
        assert client.close()[0] == "OK"
        assert client.delete("Work/Old")[0] == "OK"
        assert client.logout()[0] == "BYE"


def test_logins_that_fail(server: ServerProcess, account: Account) -> None:
    with imaplib.IMAP4(HOST, server.imap_port, timeout=CLIENT_SECONDS) as client:
        with pytest.raises(imaplib.IMAP4.error, match="PRIVACYREQUIRED"):
            client.login(account.address, account.password)
        client.starttls(client_context())
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            client.login(account.address, "wrong")
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            client.login("nobody@mail.test", account.password)
        name, password = account.address.encode(), account.password.encode()
        assert client.authenticate("PLAIN", lambda _: b"\0" + name + b"\0" + password)[0] == "OK"
        assert client.select()[0] == "OK"


def test_what_another_session_does_is_seen(opened: Open, server: ServerProcess, account: Account) -> None:
    with opened() as one, opened() as other:
        assert one.select()[1] == [b"0"]
        assert other.select()[1] == [b"0"]
        server.deliver(make_message("pushed"), account.address)
        wait_until(lambda: one.noop()[0] == "OK" and one.response("EXISTS")[1][-1] == b"1", 40, "EXISTS")
        other.noop()
        assert other.store("1", "+FLAGS", "\\Deleted")[0] == "OK"
        assert other.expunge()[1] == [b"1"]
        one.noop()
        assert one.response("EXPUNGE")[1] == [b"1"]
