"""A DMARC aggregate report: where it is wanted, its XML, and the message that brings it (RFC 9990). Pure."""

import gzip
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from email.utils import format_datetime
from xml.sax.saxutils import escape

from duckmail.mime import reportmail
from duckmail.mime.reportmail import MAILBOX, MOST_TARGETS, About
from duckmail.model.dmarcreport import Evaluated, Method
from duckmail.model.mailauth import Published

# RFC 9989 §4.7: earlier, a URI could end in a size, which is to be ignored now.
_SIZE = re.compile(r"![0-9]+[kmgt]?\Z", re.IGNORECASE)
# XML 1.0 §2.2: what no document may have, escaped or not.
_NO_CHARACTER = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def targets(uris: str) -> list[str]:
    """The addresses of mail in the value of `rua`."""
    wanted: list[str] = []
    for uri in uris.split(","):
        word = uri.strip(" \t")
        address = _SIZE.sub("", word[7:].partition("?")[0]) if word.lower().startswith("mailto:") else ""
        if MAILBOX.fullmatch(address) and address not in wanted:
            wanted.append(address)
    return wanted[:MOST_TARGETS]


def packed(about: About, published: Published, counted: Sequence[tuple[Evaluated, int]]) -> bytes:
    """The report in XML, by gzip; the same octets each time."""
    text = '<?xml version="1.0" encoding="UTF-8"?>\n' + "".join(_feedback(about, published, counted))
    return gzip.compress(text.encode(), mtime=0)


def _feedback(about: About, published: Published, counted: Iterable[tuple[Evaluated, int]]) -> Iterator[str]:
    # The order of the elements is that of older schemas, whose readers insist on it; RFC 9990 leaves it open.
    yield '<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0">\n<version>1.0</version>\n'
    start, end = (str(int(each.timestamp())) for each in about.range)
    dates = _element("date_range", _text("begin", start), _text("end", end))
    yield _element(
        "report_metadata",
        _text("org_name", about.hostname),
        _text("email", about.contact),
        _text("report_id", about.id),
        dates,
        _text("generator", "duckmail"),
    )
    yield _policy(published)
    for kind, count in counted:
        yield _record(kind, count)
    yield "</feedback>\n"


def _policy(published: Published) -> str:
    return _element(
        "policy_published",
        _text("domain", published.domain),
        _text("adkim", "s" if published.strict_dkim else "r"),
        _text("aspf", "s" if published.strict_spf else "r"),
        _text("p", published.policy),
        _text("sp", published.sub),
        _text("np", published.missing),
        _text("testing", "y" if published.testing else "n"),
        _text("discovery_method", "treewalk"),
    )


def _record(kind: Evaluated, count: int) -> str:
    row = _element(
        "row",
        _text("source_ip", kind.source),
        _text("count", str(count)),
        _element(
            "policy_evaluated",
            _text("disposition", kind.disposition),
            _text("dkim", "pass" if kind.dkim else "fail"),
            _text("spf", "pass" if kind.spf else "fail"),
            _element("reason", _text("type", kind.override)) if kind.override else "",
        ),
    )
    identifiers = _element("identifiers", _text("envelope_from", kind.sender), _text("header_from", kind.author))
    methods = [_method("dkim", "selector", each) for each in kind.signatures]
    if kind.path is not None:
        methods.append(_method("spf", "scope", kind.path))
    return _element("record", row, identifiers, _element("auth_results", *methods))


def _method(name: str, detail: str, method: Method) -> str:
    return _element(name, _text("domain", method.domain), _text(detail, method.detail), _text("result", method.result))


def _element(name: str, *inside: str) -> str:
    return f"<{name}>\n{''.join(inside)}</{name}>\n"


def _text(name: str, text: str) -> str:
    """Nothing where there is no text. What strangers have chosen is in here."""
    return f"<{name}>{escape(_NO_CHARACTER.sub('?', text))}</{name}>\n" if text else ""


def message(about: About, to: str, octets: bytes, now: datetime) -> bytes:
    """The message that brings `octets` (`packed`) to an address (§3.5)."""
    boundary = f"=_{about.id}"
    headers = [
        f"From: DMARC reports <{about.contact}>",
        f"To: <{to}>",
        f"Subject: Report Domain: {about.domain}",
        f"\tSubmitter: {about.hostname}",
        f"\tReport-ID: {about.id}",
        f"Date: {format_datetime(now)}",
        f"Message-ID: <{about.id}@{about.hostname}>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/mixed; boundary="{boundary}"',
    ]
    words = [
        f"This is a report about mail in the name of {about.domain}",
        f"on {about.day.isoformat()}, by {about.hostname}.",
    ]
    file = reportmail.File("application/gzip", about.filename(about.id, "xml.gz"), octets)
    return reportmail.message(headers, boundary, words, file)
