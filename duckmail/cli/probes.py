"""What `duckmail doctor` does as a client: plain blocking calls, to be run in a thread.

Each gives what it saw, and raises an `OSError`, a `ProbeError` or the client library's own error.
"""

import imaplib
import re
import smtplib
import socket
import ssl
import time
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from urllib.error import HTTPError

from cryptography import x509

from protocols.net.sockets import ListenSpec

SECONDS = 15.0
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (compared with, not bound to)
LONGEST_LINE = 8192

Target = tuple[str, int] | str  # host and port, or the path of a unix socket

_EXISTS = re.compile(rb"\* \d+ EXISTS\r\n")


class ProbeError(Exception):
    """The server answered, and the answer is wrong."""


def targets(listeners: Sequence[str]) -> list[tuple[str, Target | None]]:
    """(listener, where to connect); None for an inherited socket, of which only systemd knows where it listens."""
    found: list[tuple[str, Target | None]] = []
    for text in listeners:
        spec = ListenSpec.parse(text)
        if spec.path:
            found.append((text, spec.path))
        else:
            found.append((text, (EVERYWHERE.get(spec.host, spec.host), spec.port) if spec.host else None))
    return found


def tcp(listeners: Sequence[str]) -> tuple[str, int] | None:
    """The first that can be reached by TCP."""
    return next((where for _, where in targets(listeners) if isinstance(where, tuple)), None)


def connect(where: Target) -> socket.socket:
    if isinstance(where, tuple):
        return socket.create_connection(where, timeout=SECONDS)
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    opened.settimeout(SECONDS)
    opened.connect(where)
    return opened


def tls_context() -> ssl.SSLContext:
    """It looks at the running server, whose certificate may be self-signed or for another name: a step tells that."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def greeting(where: Target, tls: bool, expected: bytes) -> str:
    """The first line of the server, which has to begin with `expected`."""
    with connect(where) as plain:
        opened = tls_context().wrap_socket(plain) if tls else plain
        with opened, opened.makefile("rb") as lines:
            line = lines.readline(LONGEST_LINE)
    if not line.startswith(expected):
        raise ProbeError(f"the greeting should begin with {expected.decode()}: {line[:80]!r}")
    return line[:80].decode("ascii", "replace").strip()


def certificate(where: Target) -> x509.Certificate:
    """The one that the server shows where TLS begins at once."""
    with connect(where) as plain, tls_context().wrap_socket(plain) as opened:
        shown = opened.getpeercert(binary_form=True)
    if shown is None:
        raise ProbeError("the server shows no certificate")
    return x509.load_der_x509_certificate(shown)


def days_left(shown: x509.Certificate, now: datetime | None = None) -> int:
    """Raises: ProbeError when it is not valid now."""
    moment = now or datetime.now(UTC)
    if moment < shown.not_valid_before_utc:
        raise ProbeError(f"not valid before {shown.not_valid_before_utc:%Y-%m-%d %H:%M}")
    if moment >= shown.not_valid_after_utc:
        raise ProbeError(f"expired on {shown.not_valid_after_utc:%Y-%m-%d}")
    return (shown.not_valid_after_utc - moment).days


def message(address: str, token: str) -> bytes:
    """A small message that is easy to recognise; CRLF line ends."""
    mail = EmailMessage()
    mail["From"] = "duckmail doctor <doctor@localhost.invalid>"
    mail["To"] = address
    mail["Subject"] = f"doctor {token}"
    mail["Message-ID"] = f"<{token}@doctor.invalid>"
    mail.set_content(f"A message of `duckmail doctor`: {token}\n")
    return mail.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def deliver(where: Target, address: str, octets: bytes) -> str:
    """Delivers by LMTP."""
    host, port = where if isinstance(where, tuple) else (where, 0)
    with smtplib.LMTP() as client:
        client.timeout = SECONDS
        client.connect(host, port)
        refused = client.sendmail("doctor@localhost.invalid", [address], octets)
        if refused:
            raise ProbeError(f"refused: {refused}")
    return f"LMTP {_text(where)} took the message"


class Reader:
    """One IMAP session, logged in, with INBOX selected."""

    def __init__(self, where: tuple[str, int], tls: bool, name: str, password: str) -> None:
        """`tls`: from the first octet, else by STARTTLS where it is offered."""
        self._where = where
        self._client: imaplib.IMAP4
        if tls:
            self._client = imaplib.IMAP4_SSL(*where, ssl_context=tls_context(), timeout=SECONDS)
        else:
            self._client = imaplib.IMAP4(*where, timeout=SECONDS)
            if "STARTTLS" in self._client.capabilities:
                self._client.starttls(tls_context())
        self._client.login(name, password)
        self._client.select("INBOX")

    def close(self) -> None:
        self._client.shutdown()

    def idle(self) -> None:
        """Begins IDLE (RFC 2177)."""
        self._client.send(b"doctor IDLE\r\n")
        self._skip_to(re.compile(rb"\+ "))

    def pushed(self, since: float) -> str:
        """Waits for the untagged EXISTS and ends IDLE. `since`: monotonic, when the message was on its way."""
        self._skip_to(_EXISTS)
        took = (time.monotonic() - since) * 1000
        self._client.send(b"DONE\r\n")
        self._skip_to(re.compile(rb"doctor OK"))
        return f"IDLE told of it {took:.0f} ms after the delivery began"

    def _skip_to(self, wanted: re.Pattern[bytes]) -> None:
        while line := self._client.readline():
            if wanted.match(line):
                return
            if not line.startswith(b"* "):
                break
        raise ProbeError(f"unexpected in IDLE: {line[:80]!r}")

    def check(self, token: str, octets: bytes) -> str:
        """Finds the message and compares every octet of it."""
        uid = self._find(token)
        _, fetched = self._client.uid("FETCH", uid, "(BODY.PEEK[])")
        found = fetched[0][1] if isinstance(fetched[0], tuple) else b""
        if not found.endswith(octets):  # the server puts lines of its own in front
            raise ProbeError("the message differs from what was delivered")
        return f"IMAP {_text(self._where)} gave the message back, octet for octet"

    def remove(self, token: str) -> str:
        """Expunges the message."""
        uid = self._find(token)
        self._client.uid("STORE", uid, "+FLAGS.SILENT", "(\\Deleted)")
        status, _ = self._client.uid("EXPUNGE", uid)
        if status != "OK":
            raise ProbeError("the message is still there")
        return "expunged"

    def _find(self, token: str) -> str:
        _, found = self._client.uid("SEARCH", "HEADER", "Message-ID", f"<{token}@doctor.invalid>")
        uids = found[0].split() if found and found[0] else []
        if len(uids) != 1:
            raise ProbeError(f"INBOX should hold the message once, and holds it {len(uids)} times")
        return str(uids[0].decode("ascii"))


def _text(where: Target) -> str:
    return f"{where[0]}:{where[1]}" if isinstance(where, tuple) else where


def health(where: tuple[str, int], token: str) -> str:
    """Asks the API whether it is well."""
    host = f"[{where[0]}]" if ":" in where[0] else where[0]
    request = urllib.request.Request(f"http://{host}:{where[1]}/health", headers={"X-Access-Token": token})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310  (http by construction)
            if b'"success": true' not in answer.read(65536):
                raise ProbeError("the API is not well")
    except HTTPError as error:
        raise ProbeError(f"the API answers {error.code}") from error
    return f"API {_text(where)} is well"
