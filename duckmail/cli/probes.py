"""What `duckmail doctor` does as a client: plain blocking calls, to be run in a thread.

Each gives a line about what it saw, and raises an `OSError`, a `ProbeError` or the client library's own error.
"""

import imaplib
import smtplib
import ssl
import urllib.request
from email.message import EmailMessage
from urllib.error import HTTPError

from protocols.net.sockets import ListenSpec

SECONDS = 15.0
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (compared with, not bound to)


class ProbeError(Exception):
    """The server answered, and the answer is wrong."""


def target(listeners: tuple[str, ...]) -> tuple[str, int] | None:
    """Where to connect for the first TCP listener; None when there is none."""
    for text in listeners:
        spec = ListenSpec.parse(text)
        if spec.host:
            return EVERYWHERE.get(spec.host, spec.host), spec.port
    return None


def unix_path(listeners: tuple[str, ...]) -> str:
    """The path of the first unix listener; empty when there is none."""
    return next((spec.path for spec in map(ListenSpec.parse, listeners) if spec.path), "")


def message(address: str, token: str) -> bytes:
    """A small message that is easy to recognise; CRLF line ends."""
    mail = EmailMessage()
    mail["From"] = "duckmail doctor <doctor@localhost.invalid>"
    mail["To"] = address
    mail["Subject"] = f"doctor {token}"
    mail["Message-ID"] = f"<{token}@doctor.invalid>"
    mail.set_content(f"A message of `duckmail doctor`: {token}\n")
    return mail.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def deliver(where: tuple[str, int] | str, address: str, octets: bytes) -> str:
    """Delivers by LMTP to a host and port, or to a unix socket."""
    host, port = where if isinstance(where, tuple) else (where, 0)
    with smtplib.LMTP() as client:
        client.timeout = SECONDS
        client.connect(host, port)
        refused = client.sendmail("doctor@localhost.invalid", [address], octets)
        if refused:
            raise ProbeError(f"refused: {refused}")
    return f"LMTP {where} took the message"


def read(where: tuple[str, int], tls: bool, name: str, password: str, octets: bytes) -> str:
    """Logs in by IMAP, finds the message, and compares every octet of it."""
    context = ssl.create_default_context()
    # It looks at the running server, whose certificate may be self-signed or for another name: see the step about it.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    client: imaplib.IMAP4
    if tls:
        client = imaplib.IMAP4_SSL(*where, ssl_context=context, timeout=SECONDS)
    else:
        client = imaplib.IMAP4(*where, timeout=SECONDS)
        if "STARTTLS" in client.capabilities:
            client.starttls(context)
    with client:
        client.login(name, password)
        _, selected = client.select("INBOX")
        if selected != [b"1"]:
            raise ProbeError(f"INBOX should hold 1 message: {selected!r}")
        _, fetched = client.fetch("1", "(BODY.PEEK[])")
        found = fetched[0][1] if isinstance(fetched[0], tuple) else b""
        if not found.endswith(octets):  # the server puts lines of its own in front
            raise ProbeError("the message differs from what was delivered")
    return f"IMAP {where} gave the message back, octet for octet"


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
    return f"API {where} is well"
