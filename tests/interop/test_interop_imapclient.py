"""IMAPClient: what a program that manages mail does, over STARTTLS and over implicit TLS."""

from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest
from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError

from tests.support.net import client_context
from tests.support.server_process import CLIENT_SECONDS, HOST, Account, ServerProcess, make_message, wait_until

WANTED = ["FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODYSTRUCTURE", "BODY.PEEK[]"]
DAY = datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture(params=["starttls", "implicit-tls"])
def client(request: pytest.FixtureRequest, server: ServerProcess, account: Account) -> Iterator[IMAPClient]:
    if request.param == "implicit-tls":
        with server.imap(account) as opened:
            yield opened
        return
    with IMAPClient(HOST, server.imap_port, ssl=False, timeout=CLIENT_SECONDS) as opened:
        opened.starttls(client_context())
        opened.login(account.address, account.password)
        yield opened


def test_mailboxes(client: IMAPClient) -> None:
    assert {b"\\Sent", b"\\Trash", b"\\Junk", b"\\Drafts"} <= {
        flag for flags, _, _ in client.list_folders() for flag in flags
    }
    for use in (b"\\Sent", b"\\Trash", b"\\Junk", b"\\Drafts"):
        assert client.find_special_folder(use)
    for name in ("Grüße/日本", 'a "quoted" \\ name', "amper & sand", "deep/er/and/deeper"):
        client.create_folder(name)
        assert client.folder_exists(name)
        client.subscribe_folder(name)
        assert name in [each for _, _, each in client.list_sub_folders()]
        client.append(name, make_message("x"))
        assert client.folder_status(name)[b"MESSAGES"] == 1
    client.rename_folder("deep", "shallow")
    assert client.folder_status("shallow/er/and/deeper", ["MESSAGES", "UNSEEN"]) == {b"MESSAGES": 1, b"UNSEEN": 1}
    client.delete_folder("Grüße/日本")
    assert not client.folder_exists("Grüße/日本")
    for wrong in ("INBOX", "nowhere/at/all"):
        with pytest.raises(IMAPClientError):
            client.delete_folder(wrong)


def test_messages(client: IMAPClient) -> None:
    for number in range(10):
        client.append("INBOX", make_message(f"number {number}", f"body {number}"), [b"\\Seen"] * (number % 2), DAY)
    chosen = client.select_folder("INBOX")
    assert (chosen[b"EXISTS"], chosen[b"UIDNEXT"]) == (10, 11)
    assert b"\\*" in chosen[b"PERMANENTFLAGS"]
    fetched = client.fetch(client.search(), WANTED)
    assert list(fetched) == list(range(1, 11))
    for number, uid in enumerate(fetched):
        message = make_message(f"number {number}", f"body {number}")
        assert fetched[uid][b"BODY[]"] == message
        assert fetched[uid][b"RFC822.SIZE"] == len(message)
        assert fetched[uid][b"ENVELOPE"].subject == f"number {number}".encode()
        assert fetched[uid][b"INTERNALDATE"].timestamp() == DAY.timestamp()
        assert (b"\\Seen" in fetched[uid][b"FLAGS"]) == bool(number % 2)

    assert client.search("UNSEEN") == [1, 3, 5, 7, 9]
    assert client.search(["SUBJECT", "number 7"]) == [8]
    assert client.search(["TEXT", "body 3"], "UTF-8") == [4]
    assert client.search(["SINCE", date(2020, 2, 3), "BEFORE", date(2020, 2, 4)]) == list(range(1, 11))
    assert client.search(["NOT", ["OR", "SEEN", ["UID", "1:4"]]]) == [5, 7, 9]
    assert client.search(["LARGER", 100_000]) == []

    client.add_flags([1, 2], [b"\\Flagged", b"Wichtig"])
    assert set(client.get_flags([1])[1]) == {b"\\Flagged", b"\\Recent", b"Wichtig"}
    client.remove_flags([1], [b"Wichtig"])
    client.set_flags([2], [b"\\Seen"])
    assert client.search(["KEYWORD", "Wichtig"]) == []

    client.create_folder("Elsewhere")
    client.copy([1, 2, 3], "Elsewhere")
    client.move([4, 5], "Elsewhere")
    assert client.search() == [1, 2, 3, 6, 7, 8, 9, 10]
    assert client.folder_status("Elsewhere", ["MESSAGES"]) == {b"MESSAGES": 5}
    client.delete_messages([6, 7])
    client.uid_expunge([6])
    assert client.search() == [1, 2, 3, 7, 8, 9, 10]
    client.expunge()
    assert client.search() == [1, 2, 3, 8, 9, 10]
    client.unselect_folder()
    with pytest.raises(IMAPClientError):
        client.append("INBOX", b"Subject: large\r\n\r\n" + b"x" * (8 << 20))
    assert client.folder_status("INBOX", ["MESSAGES"]) == {b"MESSAGES": 6}


def test_changes_since(client: IMAPClient) -> None:
    """CONDSTORE: a client that comes back asks only for what changed."""
    for number in range(5):
        client.append("INBOX", make_message(f"m {number}"))
    client.enable("CONDSTORE")
    seen = client.select_folder("INBOX")[b"HIGHESTMODSEQ"]
    assert client.search(["MODSEQ", seen + 1]) == []
    client.add_flags([2, 4], [b"\\Answered"])
    assert sorted(client.fetch(range(1, 6), ["FLAGS"], [f"CHANGEDSINCE {seen}"])) == [2, 4]


def test_idle(client: IMAPClient, server: ServerProcess, account: Account) -> None:
    client.select_folder("INBOX")
    client.idle()
    said: list[object] = []
    server.deliver(make_message("arrives"), account.address)
    wait_until(lambda: said.extend(client.idle_check(timeout=1)) or (1, b"EXISTS") in said, 40, "EXISTS")
    with server.imap(account) as other:
        other.select_folder("INBOX")
        other.add_flags([1], [b"\\Flagged"])
        wait_until(
            lambda: said.extend(client.idle_check(timeout=1)) or b"\\Flagged" in repr(said).encode(), 40, "FETCH"
        )
        other.delete_messages([1])
        other.expunge()
    wait_until(lambda: said.extend(client.idle_check(timeout=1)) or (1, b"EXPUNGE") in said, 40, "EXPUNGE")
    client.idle_done()
    assert client.search() == []
