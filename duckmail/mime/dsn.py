"""Delivery status notifications: what became of a message, told to its sender (RFC 3464, in a report of RFC 6522).

With an address beyond ASCII they are the internationalized ones of RFC 6533. Nothing that others wrote (addresses, the
words of remote servers, the message) can add a line: a control character becomes a blank.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from enum import Enum

from duckmail.mime.dsnwords import Words, words
from duckmail.mime.fields import unstructured
from duckmail.mime.recode import quoted

WIDTH = 76  # characters of a line, where there are blanks to fold at
LONGEST_WORD = 900  # octets without a blank: RFC 5322 §2.1.1 has 998 octets on a line
LONGEST_HEADER = 64 * 1024
"""Octets of the original's header that a report holds."""

# What breaks lines here or elsewhere, and what cannot be encoded.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_HEXCHAR = re.compile(r"\+([0-9A-F]{2})")
_UNICODE_CHAR = re.compile(r"\\x\{([0-9A-F]{2,6})\}")
_LAST_CODE_POINT = 0x10FFFF


class Action(Enum):
    """RFC 3464 §2.3.3."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of one recipient.

    `original`: ORCPT as received, `addr-type;xtext`, or "". `status`: RFC 3463. `words`: what was said about it.
    `late`: they are the last ones, and its time was over. `host`: who said it, "" for this server. `tried`: the last
    attempt. `until`: of a delay, when it will be given up.
    """

    address: str
    action: Action
    status: str
    words: str
    original: str = ""
    host: str = ""
    tried: datetime | None = None
    until: datetime | None = None
    late: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """A report before it is written.

    `hostname`: of this server. `to`: the sender of the message. `envid`: as received, in xtext. `arrived`: when the
    message came. `now`: the report's date. `unique`: stands in no message; boundary and Message-ID are made of it.
    `original`: the octets of the message if `full`, else its header block. `smtputf8`: the message needed it.
    `language`: of its reader.
    """

    hostname: str
    to: str
    entries: Sequence[Entry]
    arrived: datetime
    now: datetime
    unique: str
    original: bytes = b""
    full: bool = False
    envid: str = ""
    smtputf8: bool = False
    language: str = ""


@dataclass(frozen=True, slots=True)
class Built:
    """A report ready to send, and what its envelope has to say."""

    octets: bytes
    body: str
    smtputf8: bool


_ACTIONS = (Action.FAILED, Action.DELAYED, Action.DELIVERED, Action.RELAYED)  # as the words have them


def build(report: Report) -> Built:
    """The report as a message. `report.entries` holds at least one."""
    return _Writer(report).build()


class _Writer:
    def __init__(self, report: Report) -> None:
        self.report = report
        self._words = words(report.language)
        named = [report.to, *(text for entry in report.entries for text in (entry.address, _original(entry)[1]))]
        self.international = not all(text.isascii() for text in named)
        self.original = report.original if report.full else _header(report.original)
        self.eight_bit = self.international or not self.original.isascii()

    def build(self) -> Built:
        boundary = f"=_{self.report.unique}"
        parts = [self._explanation(), self._status(), self._returned()]
        delimiter = f"--{boundary}".encode()
        body = b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts)
        octets = self._octets(self._head(boundary)) + body + delimiter + b"--\r\n"
        return Built(octets, "8BITMIME" if self.eight_bit else "7BIT", self.international)

    def _octets(self, lines: Iterable[str]) -> bytes:
        text = "".join(f"{line}\r\n" for line in lines)
        return text.encode() if self.international else text.encode("ascii", "replace")

    def _head(self, boundary: str) -> Iterator[str]:
        report = self.report
        kind = "global-delivery-status" if self.international else "delivery-status"
        yield f"From: Mail Delivery <mailer-daemon@{_safe(report.hostname)}>"
        yield from _fold("To", f"<{_safe(report.to)}>")
        yield from (
            unstructured("Subject", self._words.subjects[_ACTIONS.index(report.entries[0].action)])
            .decode("ascii")
            .splitlines()
        )
        yield f"Date: {format_datetime(report.now)}"
        yield f"Message-ID: <{report.unique}@{_safe(report.hostname)}>"
        # RFC 3834 §5: what answers a message by itself says so.
        yield "Auto-Submitted: auto-replied"
        yield "MIME-Version: 1.0"
        # RFC 6522 §3: the type is the subtype of the second part.
        yield f"Content-Type: multipart/report; report-type={kind};"
        yield f'\tboundary="{boundary}"'
        if self.eight_bit:
            yield "Content-Transfer-Encoding: 8bit"
        yield ""

    def _explanation(self) -> bytes:
        report, said = self.report, self._words
        about = said.about.format(host=_safe(report.hostname), date=format_datetime(report.arrived))
        lines = [*_wrap(about)]
        for action, lead in zip(_ACTIONS, said.leads, strict=True):
            entries = [entry for entry in report.entries if entry.action is action]
            if entries:
                lines += ["", *_wrap(lead), ""]
                lines += [line for entry in entries for line in _told(entry, said)]
        text = "".join(f"{line}\r\n" for line in lines)
        charset = "us-ascii" if text.isascii() else "utf-8"
        head = [f"Content-Type: text/plain; charset={charset}"]
        if text.isascii():
            return self._octets([*head, "", *lines])
        if self.international:
            return self._octets([*head, "Content-Transfer-Encoding: 8bit", "", *lines])
        # Words of another language are no reason for a report that not all servers take.
        return self._octets([*head, "Content-Transfer-Encoding: quoted-printable", ""]) + quoted(text.encode())

    def _status(self) -> bytes:
        """RFC 3464 §2.1: the fields of the message, then those of each recipient, in groups behind empty lines."""
        report = self.report
        # RFC 6533 §4.1: with UTF-8 in it, it has a type of its own.
        name = "message/global-delivery-status" if self.international else "message/delivery-status"
        lines = [f"Content-Type: {name}"]
        if self.international:
            lines.append("Content-Transfer-Encoding: 8bit")
        lines.append("")
        if report.envid:
            # RFC 3464 §2.2.1: decoded from xtext.
            lines += _fold("Original-Envelope-Id", _safe(_from_xtext(report.envid)))
        lines.append(f"Reporting-MTA: dns; {_safe(report.hostname)}")
        lines.append(f"Arrival-Date: {format_datetime(report.arrived)}")
        for entry in report.entries:
            lines += ["", *_fields(entry)]
        return self._octets(lines)

    def _returned(self) -> bytes:
        """RFC 6522 §3, RFC 6533 §4.2: the message, or its header alone."""
        if self.report.full:
            name = "message/global" if self.report.smtputf8 else "message/rfc822"
        else:
            name = "text/rfc822-headers" if self.original.isascii() else "message/global-headers"
        lines = [f"Content-Type: {name}"]
        if not self.original.isascii():
            lines.append("Content-Transfer-Encoding: 8bit")
        return self._octets([*lines, ""]) + self.original


def _told(entry: Entry, said: Words) -> list[str]:
    told = said.late.format(words=_safe(entry.words)) if entry.late else _safe(entry.words)
    lines = [f"<{_safe(entry.address)}>", *_wrap(told, "    ")]
    if entry.host:
        lines += _wrap(said.said.format(host=_safe(entry.host)), "    ")
    if entry.until is not None:
        lines += _wrap(said.until.format(time=format_datetime(entry.until)), "    ")
    return lines


def _fields(entry: Entry) -> Iterator[str]:
    """RFC 3464 §2.3."""
    if entry.original:
        yield from _fold("Original-Recipient", "; ".join(map(_safe, _original(entry))))
    kind = "rfc822" if entry.address.isascii() else "utf-8"
    yield from _fold("Final-Recipient", f"{kind}; {_safe(entry.address)}")
    yield f"Action: {entry.action.value}"
    yield from _fold("Status", _safe(entry.status))
    if entry.host:
        yield from _fold("Remote-MTA", f"dns; {_safe(entry.host)}")
        # RFC 3464 §2.3.6: the words of another server; our own are in the explanation.
        yield from _fold("Diagnostic-Code", f"smtp; {_safe(entry.words)}")
    if entry.tried is not None:
        yield f"Last-Attempt-Date: {format_datetime(entry.tried)}"
    if entry.until is not None:
        yield f"Will-Retry-Until: {format_datetime(entry.until)}"


def _original(entry: Entry) -> tuple[str, str]:
    """Type and decoded address of ORCPT."""
    kind, _, encoded = entry.original.partition(";")
    if kind.lower() == "utf-8":
        return kind, _from_unitext(encoded)
    return kind, _from_xtext(encoded)


def _from_xtext(text: str) -> str:
    """RFC 3461 §4: `+2B` stands for `+`. Octets beyond ASCII are read as UTF-8."""
    if not text.isascii():
        return text
    return _HEXCHAR.sub(lambda found: chr(int(found[1], 16)), text).encode("latin-1").decode("utf-8", "replace")


def _from_unitext(text: str) -> str:
    """RFC 6533 §3: `\\x{E9}` stands for é. In SMTP it may be in xtext besides."""
    text = _from_xtext(text) if "\\x{" not in text else text
    return _UNICODE_CHAR.sub(lambda found: _character(found[1]), text)


def _character(digits: str) -> str:
    number = int(digits, 16)
    return chr(number) if number <= _LAST_CODE_POINT else "\ufffd"


def _safe(text: str) -> str:
    return " ".join(_UNSAFE.sub(" ", text).split())


def _fold(name: str, value: str) -> list[str]:
    """One field; RFC 5322 §2.2.3: a line that begins with a blank continues it."""
    first, *rest = _wrap(value, " ", len(name) + 1)
    return [f"{name}:{first}", *rest]


def _wrap(text: str, indent: str = "", taken: int = 0) -> list[str]:
    """Lines of about `WIDTH`, each after `indent`. `taken`: characters that stand before the first one."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        piece = word.encode()[:LONGEST_WORD].decode(errors="ignore")
        if line and len(indent) + len(line) + 1 + len(piece) + (0 if lines else taken) > WIDTH:
            lines.append(indent + line)
            line = ""
        line = f"{line} {piece}" if line else piece
    return [*lines, indent + line]


def _header(block: bytes) -> bytes:
    """A header block without its empty line, at most `LONGEST_HEADER`, cut between lines."""
    if len(block) > LONGEST_HEADER:
        return block[: block.rfind(b"\n", 0, LONGEST_HEADER) + 1]
    return block[:-2] if block.endswith(b"\r\n\r\n") or block == b"\r\n" else block
