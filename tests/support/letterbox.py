"""Mail of every kind for a maildrop, and what programs make of it that think in lines."""

import mailbox
import re
from pathlib import Path

from tests.support.contents import attachment, multipart, octets, plain
from tests.support.server_process import make_message

_KINDS = {
    "plain": "a line\nanother",
    "dots": ".\n..\n.x\nlast\n.",
    "8-bit": "Grüße aus Köln, 日本語",
    "long lines": "x" * 990 + "\n" + "y" * 990,
    "no body": "",
    "empty lines": "\n\n\n",
}


def letters(*, lines: int = 12_000) -> list[bytes]:
    """Messages with CRLF line ends, each with its own subject. `lines`: of the largest one, about 80 octets each."""
    large = make_message("large", "\n".join([".a line of a large message, " + "0123456789" * 5] * lines))
    parts = multipart(plain("with an attachment"), attachment(octets(300_000), "a.bin"))
    return [*(make_message(subject, body) for subject, body in _KINDS.items()), large, parts]


def as_lines(message: bytes) -> bytes:
    """As a file on a system whose lines end with LF."""
    return message.replace(b"\r\n", b"\n")


def subject(message: bytes) -> str:
    found = re.search(rb"(?m)^Subject: ([^\r\n]*)", message)
    return found[1].decode() if found else ""


def read_mbox(file: Path) -> list[mailbox.mboxMessage]:
    """The messages of a mailbox file, as another program finds them."""
    box = mailbox.mbox(file)
    try:
        return list(box)
    finally:
        box.close()
