"""Who may connect, and who somebody is: PROXY headers, LMTP's peers, limits by network."""

import socket
import struct

import pytest

from tests.support.lines import Lines
from tests.support.server_process import ServerProcess, make_message

PROXY, OTHER = "127.0.0.1", "127.0.0.2"  # connections from the first carry a PROXY header
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v1(source: str, port: int = 40000) -> bytes:
    family = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {family} {source} {'::1' if ':' in source else '192.0.2.1'} {port} 143\r\n".encode()


def v2(source: str, port: int = 40000, extra: bytes = b"") -> bytes:
    if ":" in source:
        addresses, family = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, "::1"), 0x21
    else:
        addresses, family = socket.inet_aton(source) + socket.inet_aton("192.0.2.1"), 0x11
    body = addresses + struct.pack("!HH", port, 143) + extra
    return SIGNATURE + struct.pack("!BBH", 0x21, family, len(body)) + body


@pytest.fixture
def proxied(process: ServerProcess) -> ServerProcess:
    process.configure(
        {
            "proxy": {"peers": [f"{PROXY}/32"]},
            "lmtp": {"peers": [f"{OTHER}/32", "198.51.100.0/24"]},
            "limits": {"per_network": 2},
        }
    )
    process.start()
    return process


def test_proxy(proxied: ServerProcess) -> None:
    """The client is who the header names: in the log, for limits, for LMTP's peers."""
    anna = proxied.add_account("anna")
    login = f"a LOGIN {anna.address} {anna.password}"
    for header in (v1("203.0.113.7"), v2("203.0.113.8"), v2("2001:db8::9"), v2("203.0.113.10", extra=b"\4\0\2xx")):
        with Lines(proxied.imaps_port, first=header, tls=True) as peer:
            peer.until("* OK")
            assert peer.ask(login).startswith("a OK")
    with Lines(proxied.imap_port, first=v1("203.0.113.11")) as peer:
        peer.until("* OK")
        assert peer.ask("a NOOP").startswith("a OK")
    # LOCAL: the proxy speaks for itself, as in its health checks.
    with Lines(proxied.imap_port, first=SIGNATURE + b"\x20\0\0\0") as peer:
        peer.until("* OK")

    # The header and what comes behind it in the same packet.
    with Lines(proxied.lmtp_port, first=v1("198.51.100.5") + b"LHLO x\r\n") as peer:
        assert peer.line().startswith("220 ")
        peer.until("250 ")
    with Lines(proxied.lmtp_port, first=v1("203.0.113.7")) as peer:
        assert peer.line() == "421 4.7.1 203.0.113.7:40000 may not deliver here"
        assert peer.line() == ""

    # Two connections of one network, and a third: all come from the same proxy.
    with Lines(proxied.imap_port, first=v1("203.0.113.20")) as one, Lines(proxied.imap_port, first=v1("203.0.113.20")):
        one.until("* OK")
        with Lines(proxied.imap_port, first=v1("203.0.113.20")) as third:
            assert third.line().startswith("* BYE ")
        with Lines(proxied.imap_port, first=v1("203.0.113.21")) as other:
            other.until("* OK")
    proxied.stop()
    peers = {line.get("peer") for line in proxied.log_lines()}
    assert {"203.0.113.7", "203.0.113.8", "2001:db8::9", "203.0.113.10", "203.0.113.11"} <= peers


def test_the_proxy_must_say_who_it_is(process: ServerProcess) -> None:
    process.configure({"proxy": {"peers": [f"{PROXY}/32"]}})
    process.start()
    for first in (
        b"a CAPABILITY\r\n",  # no header
        b"PROXY TCP4 203.0.113.7\r\na CAPABILITY\r\n",  # half a header
        b"PROXY TCP4 " + b"9" * 200 + b"\r\n",  # too long
        SIGNATURE + b"\x31\x11\0\0",  # an unknown version
    ):
        with Lines(process.imap_port, first=first) as peer:
            assert peer.rest() == [], first
    process.stop()


def test_others_cannot_say_who_they_are(proxied: ServerProcess) -> None:
    """From somebody who is not listed, a header is just a wrong command."""
    with Lines(proxied.imap_port, source=OTHER, first=v1("203.0.113.7")) as peer:
        peer.until("* OK")
        assert " BAD " in peer.line()
        assert peer.ask("a NOOP").startswith("a OK")
    with Lines(proxied.lmtp_port, source=OTHER, first=v1("198.51.100.5")) as peer:
        peer.until("220 ")
        assert peer.line().startswith("500 ")
    proxied.stop()
    assert "203.0.113.7" not in proxied.log.read_text()


def test_lmtp_is_for_its_peers_alone(process: ServerProcess) -> None:
    process.configure(
        {"lmtp": {"peers": [f"{OTHER}/32", "unix"], "listen": ["127.0.0.1:0", f"unix:{process.folder}/l"]}}
    )
    process.start()
    anna = process.add_account("anna")
    with Lines(process.lmtp_port) as stranger:
        assert stranger.line().startswith("421 4.7.1 127.0.0.1:")
        assert stranger.line() == ""
    with Lines(process.lmtp_port, source=OTHER) as relay:
        relay.until("220 ")
        relay.send(f"LHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<{anna.address}>\r\n")
        relay.until("250 2.1.5")
        relay.send(b"DATA\r\n" + make_message("by tcp") + b".\r\nQUIT\r\n")
        relay.until("250 2.0.0 OK id=")
    with socket.socket(socket.AF_UNIX) as local:
        local.connect(str(process.folder / "l"))
        assert local.recv(100).startswith(b"220 ")
    # Everybody may read mail.
    assert len(process.messages(anna)) == 1
    process.stop()
