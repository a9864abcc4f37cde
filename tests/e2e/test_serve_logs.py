"""The log of a running server: JSON, one line for each command or transaction, with connection ids; no secret, no
content, even where it says most."""

import base64
import contextlib
import imaplib

import pytest

from tests.support.lines import Lines
from tests.support.server_process import DOMAIN, ServerProcess, make_message

PASSWORD, WRONG, NEW = "Kw7-secret-of-anna", "Kw8-a-wrong-one", "Kw9-another-secret"
MARKERS = ("Zmarkbody", "Zmarksubject", "Zmarkheader", "Zmarksearch", "Zmarkmailbox", "Zmarkbad", "Zmarkattachment")


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_nothing_secret_and_nothing_written_gets_into_the_log(process: ServerProcess) -> None:
    process.configure({"log": {"level": "debug"}})
    process.start()
    address = f"anna@{DOMAIN}"
    process.api("POST", "/users", {"username": address, "address": address, "password": PASSWORD})
    plain = base64_of(f"\0{address}\0{PASSWORD}")
    wrong = base64_of(f"\0{address}\0{WRONG}")
    attachment = base64_of("Zmarkattachment" * 3)
    message = make_message("Zmarksubject", f"Zmarkbody\n{attachment}").replace(b"From: Sender", b"From: Zmarkheader", 1)

    with Lines(process.lmtp_port) as relay:
        relay.until("220 ")
        relay.send(f"LHLO x\r\nMAIL FROM:<s@example.org>\r\nRCPT TO:<{address}>\r\nRCPT TO:<nobody@{DOMAIN}>\r\n")
        relay.until("550 ")
        relay.send(b"DATA\r\n" + message + b".\r\n")
        relay.until("250 2.0.0 OK id=")
        relay.send(f"MAIL FROM:<s@example.org>\r\nRCPT TO:<{address}>\r\nDATA\r\n")
        relay.until("354 ")
        relay.send(b"Subject: Zmarkbad\r\n\r\nbare\nline\r\n.\r\nZMARKBAD Zmarkbad\r\n")
        relay.until("500 ")
    with Lines(process.imaps_port, tls=True) as peer:
        peer.until("* OK")
        assert peer.ask(f"a LOGIN {address} {WRONG}").startswith("a NO")
        assert peer.ask(f"b AUTHENTICATE PLAIN {wrong}").startswith("b NO")
        assert peer.ask(f"c LOGIN {address} {{{len(PASSWORD)}+}}\r\n{PASSWORD}").startswith("c OK")
        assert peer.ask("d SELECT INBOX").startswith("d OK")
        assert peer.ask(f"e APPEND INBOX {{{len(message)}+}}\r\n{message.decode()}").startswith("e OK")
        assert peer.ask('f SEARCH TEXT "Zmarksearch"').startswith("f OK")
        assert peer.ask("g FETCH 1:* (ENVELOPE BODYSTRUCTURE BODY[])").startswith("g OK")
        assert peer.ask(f"h ZMARKBAD {PASSWORD}").startswith("h BAD")
        assert peer.ask("i FETCH 1 BODY[Zmarkbad]").startswith("i BAD")
        assert peer.ask("j STORE 1 +FLAGS (Zmarkflag)").startswith("j OK")
    with Lines(process.imaps_port, tls=True) as peer:
        peer.until("* OK")
        assert peer.ask(f"a AUTHENTICATE PLAIN {plain}").startswith("a OK")
        peer.send("b FETCH 1 (Zmark\r\n")
        peer.until("b ")
    with imaplib.IMAP4("127.0.0.1", process.imap_port, timeout=20) as client, pytest.raises(imaplib.IMAP4.error):
        client.login(address, PASSWORD)  # without TLS, which is refused
    with contextlib.suppress(AssertionError):
        process.api("POST", "/authenticate", {"username": address, "password": WRONG})
    process.api("POST", "/authenticate", {"username": address, "password": PASSWORD, "token": True})
    user = process.api("GET", f"/users/resolve/{address}")["id"]
    process.api("PUT", f"/users/{user}", {"password": NEW})
    process.stop()

    log = process.log.read_text()
    token = (process.data / "api-token").read_text().strip()
    for secret in (PASSWORD, WRONG, NEW, plain, wrong, token, base64_of(PASSWORD), attachment, *MARKERS):
        assert secret.lower() not in log.lower(), secret

    lines = process.log_lines()
    for line in lines:
        assert {"time", "level", "logger", "message"} <= set(line)
    commands = [line for line in lines if line["message"] == "command"]
    transactions = [line for line in lines if line["message"] == "message"]
    assert [(line["command"], line["result"]) for line in commands][:4] == [
        ("LOGIN", "NO"),
        ("AUTHENTICATE", "NO"),
        ("LOGIN", "OK"),
        ("SELECT", "OK"),
    ]
    assert [line["results"] for line in transactions] == [{"250 2.0.0": 1}, {"550 5.6.11": 1}]
    # Who did what on which connection can be followed to its end.
    ended = {line["connection"]: line for line in lines if line["message"] == "connection ended"}
    for line in commands + transactions:
        assert line["connection"] in ended
        assert line["ms"] >= 0
    assert {line["user"] for line in commands if line["command"] == "SELECT"} == {address}
    assert len(ended) == 4
