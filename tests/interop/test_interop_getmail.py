"""getmail over IMAP with TLS (it has no STARTTLS): several mailboxes, the unseen, moved or deleted when it has them."""

import functools
from pathlib import Path

from tests.interop.getmail import Getmail
from tests.interop.programs import Run
from tests.support.letterbox import as_lines, letters, subject
from tests.support.server_process import Account, ServerProcess, make_message

LIST = "Lists & more/Entwürfe"


def test_getmail_imap(server: ServerProcess, account: Account, run: Run, tmp_path: Path) -> None:
    getmail = functools.partial(
        Getmail(tmp_path, run, "SimpleIMAPSSLRetriever", server.imaps_port).fetch, server, account
    )

    def stored(*mailboxes: str) -> list[bytes]:
        found = [octets for mailbox in mailboxes for octets in server.messages(account, mailbox)]
        return sorted((as_lines(octets) for octets in found), key=subject)

    def seen() -> list[int]:
        with server.imap(account) as client:
            client.select_folder("INBOX", readonly=True)
            return list(client.search("SEEN"))

    for message in letters():
        server.deliver(message, account.address)
    with server.imap(account) as client:
        client.create_folder(LIST)
        # Without the first field it makes one.
        client.append(LIST, b"Return-Path: <list@example.org>\r\n" + make_message("~ on a list"))
    both = f'mailboxes = ("INBOX", "{LIST}")'
    assert getmail(both) == stored("INBOX", LIST)
    assert getmail(both) == []  # it knows them by UIDVALIDITY and UID
    assert seen() == []

    # Only what is unseen; what it has is marked as seen.
    server.deliver(make_message("~ new"), account.address)
    assert [
        subject(each) for each in getmail("imap_search = UNSEEN SUBJECT ~", "imap_on_delete = (\\Seen)", delete=True)
    ] == ["~ new"]
    assert seen() == [len(letters()) + 1]

    # What it has is moved elsewhere, or deleted.
    server.deliver(make_message("~ to be moved"), account.address)
    assert [subject(each) for each in getmail('move_on_delete = "Trash"', delete=True)] == ["~ to be moved"]
    assert [len(server.messages(account, mailbox)) for mailbox in ("INBOX", "Trash")] == [0, len(letters()) + 2]
    assert getmail(f'mailboxes = ("{LIST}",)', delete=True) == []
    assert server.messages(account, LIST) == []
