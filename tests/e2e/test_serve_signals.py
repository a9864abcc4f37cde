"""SIGTERM, SIGHUP: what clients see of them."""

import contextlib
import re
import signal
import socket
import time

import pytest

from tests.support.lines import Lines
from tests.support.net import make_certificate
from tests.support.server_process import Account, ServerProcess, make_message, wait_until


def log_in(peer: Lines, account: Account) -> None:
    peer.until("* OK")
    assert peer.ask(f"a LOGIN {account.address} {account.password}").startswith("a OK")


def begin_message(peer: Lines, account: Account) -> None:
    """LMTP, up to the middle of a line of the message."""
    peer.until("220 ")
    peer.send(f"LHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<{account.address}>\r\nDATA\r\n")
    peer.until("354 ")
    peer.send("Subject: in the middle\r\n\r\nhalf a li")


def test_sigterm_drains(process: ServerProcess) -> None:
    process.start()
    anna = process.add_account("anna")
    with (
        Lines(process.imaps_port, tls=True) as idling,
        Lines(process.imaps_port, tls=True) as waiting,
        Lines(process.imap_port) as greeted,
        Lines(process.lmtp_port) as sending,
        Lines(process.lmtp_port) as quiet,
        Lines(process.port("API")) as keeping,
    ):
        log_in(idling, anna)
        idling.ask("b SELECT INBOX")
        idling.send("c IDLE\r\n")
        idling.until("+ ")
        log_in(waiting, anna)
        greeted.until("* OK")
        begin_message(sending, anna)
        quiet.until("220 ")
        keeping.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        keeping.until("HTTP/1.1 ")

        begun = time.monotonic()
        process.send(signal.SIGTERM)
        # Who only waits is told at once and let go.
        for peer in (idling, waiting, greeted):
            assert peer.until("* BYE") == "* BYE [UNAVAILABLE] Server shutting down"
            assert peer.rest() == []
        assert quiet.line().startswith("421 4.3.2 ")
        # Half a message is given up: its relay has it still.
        assert sending.line().startswith("421 4.3.2 ")
        process.ended(begun)
        with pytest.raises(ConnectionError):
            socket.create_connection(("127.0.0.1", process.lmtp_port), 5)


def test_sigterm_answers_what_is_being_stored(process: ServerProcess) -> None:
    """Messages that are complete when it comes: each is answered, and stored exactly if the answer was 250."""
    process.start()
    anna = process.add_account("anna")
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(Lines(process.lmtp_port)) for _ in range(12)]
        for peer in peers:
            begin_message(peer, anna)
        for number, peer in enumerate(peers):
            peer.send(f"ne {number}\r\n" + "x" * 70 * number + "\r\n.\r\n")
        begun = time.monotonic()
        process.send(signal.SIGTERM)
        answers = [peer.rest() for peer in peers]
        process.ended(begun)
    taken = [number for number, said in enumerate(answers) if said[0].startswith("250 2.0.0 OK id=")]
    assert all(said[-1].startswith("421 4.3.2 ") for said in answers)
    process.start()
    stored = [int(re.findall(rb"half a line (\d+)", message)[0]) for message in process.messages(anna)]
    assert sorted(stored) == taken
    process.stop()


def test_sigterm_does_not_wait_for_ever(process: ServerProcess) -> None:
    """A message that never ends, a client that reads nothing, half a command: aborted in time, nothing stored."""
    process.start()
    anna = process.add_account("anna")
    process.deliver(make_message("large", "x" * 70 + "\n" * 1_000_000), anna.address)
    with (
        Lines(process.lmtp_port) as sending,
        Lines(process.imaps_port, tls=True) as deaf,
        Lines(process.imaps_port, tls=True) as half,
    ):
        begin_message(sending, anna)
        log_in(deaf, anna)
        deaf.ask("b SELECT INBOX")
        deaf.send("".join(f"f{number} FETCH 1 BODY[]\r\n" for number in range(30)))
        log_in(half, anna)
        half.send("b APPEND INBOX {1000}\r\n")
        half.until("+ ")
        half.send("only a little")
        process.stop()
    process.start()
    assert len(process.messages(anna)) == 1
    process.stop()


def test_sighup_reads_certificate_and_log_level_again(process: ServerProcess) -> None:
    first, second = (make_certificate(process.folder / name, "mail.test") for name in ("first", "second"))
    live = make_certificate(process.folder / "live", "mail.test")

    def install(certificate: bytes, key: bytes) -> None:
        live.key.write_bytes(key)
        live.certificate.write_bytes(certificate)

    def presented() -> bytes:
        with Lines(process.imaps_port, tls=True) as peer:
            return peer.certificate

    def hang_up() -> None:
        before = len(process.log_lines())
        process.send(signal.SIGHUP)
        wait_until(lambda: any("reload" in line["message"] for line in process.log_lines()[before:]), 10, "SIGHUP")

    install(first.certificate.read_bytes(), first.key.read_bytes())
    process.configure({"tls": {"certificate": str(live.certificate), "key": str(live.key)}})
    process.start()
    anna = process.add_account("anna")
    with Lines(process.imaps_port, tls=True) as old, Lines(process.imap_port) as plain:
        log_in(old, anna)
        plain.until("* OK")
        before = presented()
        assert old.certificate == before

        install(second.certificate.read_bytes(), second.key.read_bytes())
        process.configure({"log": {"level": "error"}})
        hang_up()
        after = presented()
        assert after != before
        # Connections of before go on; STARTTLS of one takes what is current.
        assert old.ask("b NOOP").startswith("b OK")
        assert plain.ask("c STARTTLS").startswith("c OK")
        plain.start_tls()
        assert plain.certificate == after
        quiet = len(process.log_lines())
        assert plain.ask("d NOOP").startswith("d OK")
        assert process.log_lines()[quiet:] == []

        # Files that do not fit together, and a configuration with a mistake, change nothing and end nothing.
        install(first.certificate.read_bytes(), second.key.read_bytes())
        process.configure({"log": {"level": "loud"}})
        process.send(signal.SIGHUP)
        wait_until(lambda: len(process.log_lines()) >= quiet + 2, 60, "both complaints")
        said = [line["message"] for line in process.log_lines()[quiet:]]
        assert said == ["certificates not reloaded, the old ones stay", "configuration not read again"]
        assert presented() == after
        assert old.ask("e NOOP").startswith("e OK")
    process.kill()
