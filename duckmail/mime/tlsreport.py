"""A TLS report as a message (RFC 8460 §5.3), and as the JSON in it (§4). Pure."""

import gzip
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.utils import format_datetime

from duckmail.mime import reportmail
from duckmail.mime.reportmail import MAILBOX, MOST_TARGETS, About

# RFC 8460 §3: tlsrpt-record = tlsrpt-version *WSP ";" tlsrpt-rua
_VERSION = re.compile(r"v=TLSRPTv1[ \t]*;")
_RUA = re.compile(r";[ \t]*rua=([^;]*)")


def targets(texts: Sequence[str]) -> list[str]:
    """Where the TXT records of `_smtp._tls.DOMAIN` want reports: addresses of mail, and URLs of https."""
    # RFC 8460 §3: of several records, or none, there is nothing to be done.
    ours = [text for text in texts if _VERSION.match(text)]
    found = _RUA.search(ours[0]) if len(ours) == 1 else None
    wanted: list[str] = []
    for uri in (found[1] if found else "").split(","):
        word = uri.strip(" \t")
        address = word[7:].partition("?")[0] if word.lower().startswith("mailto:") else ""
        if MAILBOX.fullmatch(address):
            wanted.append(address)
        elif word.lower().startswith("https://") and word.isascii() and word.isprintable():
            wanted.append(f"https://{word[8:]}")
    return wanted[:MOST_TARGETS]


def packed(about: About, policies: Sequence[Mapping[str, object]]) -> bytes:
    """The report in JSON, by gzip; the same octets each time."""
    start, end = about.range
    report = {
        "organization-name": about.hostname,
        "date-range": {"start-datetime": f"{start:%Y-%m-%dT%H:%M:%SZ}", "end-datetime": f"{end:%Y-%m-%dT%H:%M:%SZ}"},
        "contact-info": about.contact,
        "report-id": about.id,
        "policies": list(policies),
    }
    return gzip.compress(json.dumps(report, ensure_ascii=True).encode(), mtime=0)


def message(about: About, to: str, octets: bytes, now: datetime) -> bytes:
    """The message that brings `octets` (`packed`) to an address."""
    boundary = f"=_{about.id}"
    headers = [
        f"From: TLS reports <{about.contact}>",
        f"To: <{to}>",
        f"Subject: Report Domain: {about.domain} Submitter: {about.hostname}",
        f"\tReport-ID: <{about.id}@{about.hostname}>",
        f"Date: {format_datetime(now)}",
        f"Message-ID: <{about.id}@{about.hostname}>",
        f"TLS-Report-Domain: {about.domain}",
        f"TLS-Report-Submitter: {about.hostname}",
        # RFC 8460 §3: what does not work must not keep the report about it from coming.
        "TLS-Required: No",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type="tlsrpt"; boundary="{boundary}"',
    ]
    words = [
        f"This is a report about TLS with the mail servers of {about.domain}",
        f"on {about.day.isoformat()}, by {about.hostname}.",
    ]
    file = reportmail.File("application/tlsrpt+gzip", about.filename("1", "json.gz"), octets)
    return reportmail.message(headers, boundary, words, file)
