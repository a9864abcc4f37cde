"""The standard library's POP3 client on the running server; two clients at once on one maildrop."""

import contextlib
import poplib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.letterbox import as_lines, letters
from tests.support.net import client_context
from tests.support.server_process import HOST, Account, Databases, ServerProcess, make_message, wait_until

Connect = Callable[..., poplib.POP3]

PATIENCE = 60.0  # seconds for what else would be never

HOLDER = """
import poplib, ssl, sys, time
context = ssl._create_unverified_context()
client = poplib.POP3_SSL("127.0.0.1", int(sys.argv[1]), context=context, timeout=20)
client.user(sys.argv[2])
client.pass_(sys.argv[3])
client.retr(1)
client.dele(2)
print("holds it", flush=True)
time.sleep(600)
"""


@pytest.fixture
def connect(server: ServerProcess) -> Iterator[Connect]:
    """Connections; those that were not left by QUIT are closed at the end."""
    with contextlib.ExitStack() as stack:

        def opened(tls: bool = True, where: ServerProcess = server) -> poplib.POP3:
            port = where.pop3_port(tls=tls)
            if tls:
                client: poplib.POP3 = poplib.POP3_SSL(HOST, port, context=client_context(), timeout=20)
            else:
                client = poplib.POP3(HOST, port, timeout=20)
                client.stls(client_context())
            stack.callback(client.close)
            return client

        yield opened


def log_in(client: poplib.POP3, account: Account) -> poplib.POP3:
    client.user(account.address)
    client.pass_(account.password)
    return client


def in_use(client: poplib.POP3, account: Account) -> bool:
    """Whether the account's maildrop is somebody's; the connection ends."""
    refused = b""
    try:
        log_in(client, account)
    except poplib.error_proto as error:
        refused = error.args[0]
    client.quit()
    assert refused == b"" or refused.startswith(b"-ERR [IN-USE] ")
    return refused != b""


@pytest.mark.parametrize("tls", [False, True], ids=["stls", "implicit-tls"])
def test_poplib(tls: bool, server: ServerProcess, account: Account, connect: Connect) -> None:
    for message in letters():
        server.deliver(message, account.address)
    stored = server.messages(account)
    client = log_in(connect(tls), account)
    count, octets = client.stat()
    assert (count, octets) == (len(stored), sum(map(len, stored)))
    for number, message in enumerate(stored, 1):
        _, lines, size = client.retr(number)
        assert b"".join(line + b"\n" for line in lines) == as_lines(message)
        assert size == len(message)
    header = stored[1].partition(b"\r\n\r\n")[0]
    assert b"\r\n".join(client.top(2, 0)[1]) == header + b"\r\n"
    assert client.top(2, 2)[1][-2:] == [b".", b".."]
    client.dele(1)
    client.dele(3)
    client.rset()
    client.dele(2)
    client.quit()
    with server.imap(account) as imap:
        imap.select_folder("INBOX", readonly=True)
        assert len(imap.search("SEEN")) == len(stored) - 1
        assert imap.search("UNSEEN") == []
    assert server.messages(account) == stored[:1] + stored[2:]
    assert server.messages(account, "Trash") == [stored[1]]


def test_unique_ids_stay(server: ServerProcess, account: Account, connect: Connect) -> None:
    """Over sessions, a move away and back; a copy has one of its own."""
    for number in range(3):
        server.deliver(make_message(f"number {number}"), account.address)

    def unique_ids() -> dict[bytes, bytes]:
        """By subject."""
        client = log_in(connect(), account)
        found = {}
        for line in client.uidl()[1]:
            number, unique = line.split()
            [subject] = [each for each in client.top(int(number), 0)[1] if each.startswith(b"Subject: ")]
            found[unique] = subject
        client.quit()
        assert all(len(unique) <= 70 for unique in found)
        return found

    first = unique_ids()
    assert len(first) == 3
    with server.imap(account) as client:
        client.create_folder("Elsewhere")
        client.select_folder("INBOX")
        client.move([1], "Elsewhere")
        client.copy([2], "INBOX")
        client.select_folder("Elsewhere")
        client.move(client.search(), "INBOX")
    second = unique_ids()
    assert first.items() <= second.items()
    assert len(second) == 4


def test_one_session_at_a_time(server: ServerProcess, account: Account, connect: Connect) -> None:
    """RFC 1939 §4: an exclusive lock, from login to the end of the session, however that comes."""
    for number in range(3):
        server.deliver(make_message(f"number {number}"), account.address)
    first = log_in(connect(), account)
    assert in_use(connect(), account)
    # Who is refused may try again in the same connection; another account is not concerned.
    second = connect()
    second.user(account.address)
    with pytest.raises(poplib.error_proto, match="IN-USE"):
        second.pass_(account.password)
    # What arrives meanwhile does not shift numbers, and belongs to the next session.
    server.deliver(make_message("meanwhile"), account.address)
    with server.imap(account) as imap:
        imap.select_folder("INBOX")
        imap.delete_messages([1])
        imap.expunge()
    assert first.stat()[0] == 3
    assert b"Subject: number 1" in first.retr(2)[1]
    with pytest.raises(poplib.error_proto):
        first.retr(1)
    first.dele(2)
    first.quit()
    # Free with the answer to QUIT, at once.
    second.user(account.address)
    second.pass_(account.password)
    assert second.stat()[0] == 2
    second.quit()
    assert len(server.messages(account, "Trash")) == 1


def test_a_client_that_dies(server: ServerProcess, account: Account, connect: Connect) -> None:
    """Its session changes nothing (RFC 1939 §6), and the next one gets in."""
    for number in range(2):
        server.deliver(make_message(f"number {number}"), account.address)
    port = str(server.pop3_port(tls=True))
    holder = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", HOLDER, port, account.address, account.password], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    with holder.stdout as said:
        assert said.readline() == b"holds it\n"
        assert in_use(connect(), account)
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
    wait_until(lambda: not in_use(connect(), account), PATIENCE, "the maildrop to be free")
    assert len(server.messages(account)) == 2
    with server.imap(account) as imap:
        imap.select_folder("INBOX", readonly=True)
        assert imap.search("SEEN") == []


def test_a_server_that_dies(
    mongo_uri: str, redis_url: str, redis_prefix: str, database_name: str, tmp_path: Path, connect: Connect
) -> None:
    """Of two on one database: the maildrop is locked for both, and free again soon when the one that had it is dead."""
    databases = Databases(mongo_uri, database_name, redis_url, redis_prefix)
    with ServerProcess(tmp_path / "one", databases) as one, ServerProcess(tmp_path / "other", databases) as other:
        token = (one.data / "api-token").read_text()
        (other.data / "api-token").write_text(token)
        account = one.add_account("anna")
        one.deliver(make_message("locked"), account.address)
        client = log_in(connect(where=one), account)
        client.dele(1)
        assert in_use(connect(where=other), account)
        one.kill()
        client.close()
        wait_until(lambda: not in_use(connect(where=other), account), PATIENCE, "the maildrop to be free")
        assert len(other.messages(account)) == 1
