"""Reports that others send about our domains: DMARC aggregate (RFC 9990, and older forms) and TLS (RFC 8460). Pure.

Everything in them is a stranger's: sizes, numbers of rows and lengths of words are bounded. CPU: in a thread.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from duckmail.mime.index import Kind
from duckmail.mime.scan import scan
from duckmail.mime.transfer import decoded

MOST_PACKED = 2 << 20  # octets of the file as it comes
MOST_OCTETS = 8 << 20  # of what is in it
MOST_MARKS = 400_000  # that begin elements and values: what they take in memory is many times their octets
MOST_ROWS = 1_000  # that are kept; all are counted
MOST_PARTS = 20  # of a message that are looked at
LONGEST = 253  # characters of a word
MOST_COUNT = 2**53

Row = Mapping[str, str | int]


class NoReport(ValueError):
    """There is none in it."""


@dataclass(frozen=True, slots=True)
class Report:
    """`kind`: `dmarc` or `tls`. `domain`: that it is about. `organization`: that says so. `id`: theirs. `passed`,
    `failed`: messages, or sessions. `rows`: the first of them."""

    kind: str
    domain: str
    organization: str
    id: str
    begin: datetime
    end: datetime
    passed: int
    failed: int
    rows: tuple[Row, ...]


def read(raw: bytes | bytearray) -> Report:
    """The report in a message. Raises: NoReport."""
    nodes = [node for node in scan(raw).nodes if node.kind is Kind.LEAF and node.media_type != "text/plain"]
    for node in nodes[:MOST_PARTS]:
        if node.size > 2 * MOST_PACKED:
            continue
        octets = b"".join(decoded(raw, node.body_start, node.body_end, node.encoding))
        try:
            return read_file(octets)
        except NoReport:
            continue
    raise NoReport("No part of the message is a report")


def read_file(octets: bytes) -> Report:
    """By what is in it: names and media types of such files differ a lot. Raises: NoReport."""
    try:
        text = _unpacked(octets[: MOST_PACKED + 1])
        start = text.lstrip()[:1]
        if start == b"{":
            return _tls(json.loads(text))
        if start in (b"<", b"\xef"):
            # RFC 9990 says nothing of a DTD, and no entity is worth what it may cost.
            return _dmarc(fromstring(text, forbid_dtd=True))
    except (
        ArithmeticError, AttributeError, DefusedXmlException, EOFError, KeyError, LookupError, NotImplementedError,
        OSError, ParseError, RecursionError, RuntimeError, TypeError, ValueError, zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        raise NoReport(type(error).__name__) from error
    raise NoReport("Neither XML nor JSON")


def _unpacked(octets: bytes) -> bytes:
    """Raises: ValueError and others."""
    if len(octets) > MOST_PACKED:
        raise ValueError("too long")
    text = octets
    if octets.startswith(b"\x1f\x8b"):
        text = zlib.decompressobj(wbits=31).decompress(octets, MOST_OCTETS + 1)
    elif octets.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(octets)) as archive, archive.open(archive.infolist()[0]) as file:
            text = file.read(MOST_OCTETS + 1)
    if len(text) > MOST_OCTETS:
        raise ValueError("too long")
    if sum(map(text.count, (b"<", b"{", b"[", b","))) > MOST_MARKS:
        raise ValueError("too much in it")
    return text


# -- DMARC ------------------------------------------------------------------------------------------------------------


def _dmarc(root: Element) -> Report:
    for each in root.iter():
        # Some have a namespace, older ones none.
        each.tag = str(each.tag).rpartition("}")[2]
    if root.tag != "feedback":
        raise ValueError("no feedback")
    passed = failed = 0
    rows: list[Row] = []
    for record in root.findall("record"):
        count = _number(_text(record, "row/count"))
        evaluated = [_text(record, f"row/policy_evaluated/{name}") for name in ("dkim", "spf")]
        if "pass" in evaluated:
            passed += count
        else:
            failed += count
        if len(rows) < MOST_ROWS:
            rows.append(_dmarc_row(record, count))
    return Report(
        "dmarc",
        _required(_text(root, "policy_published/domain")).lower().removesuffix("."),
        _text(root, "report_metadata/org_name"),
        _required(_text(root, "report_metadata/report_id")),
        _moment(_text(root, "report_metadata/date_range/begin")),
        _moment(_text(root, "report_metadata/date_range/end")),
        _bounded(passed),
        _bounded(failed),
        tuple(rows),
    )


def _dmarc_row(record: Element, count: int) -> Row:
    return {
        "source": _text(record, "row/source_ip"),
        "count": count,
        "disposition": _text(record, "row/policy_evaluated/disposition"),
        "dkim": _text(record, "row/policy_evaluated/dkim"),
        "spf": _text(record, "row/policy_evaluated/spf"),
        "headerFrom": _text(record, "identifiers/header_from"),
        "envelopeFrom": _text(record, "identifiers/envelope_from"),
    }


def _text(element: Element, path: str) -> str:
    return _word(element.findtext(path) or "")


# -- TLS --------------------------------------------------------------------------------------------------------------


def _tls(found: Mapping[str, Any]) -> Report:
    policies = found["policies"]
    dates = found["date-range"]
    summaries = [each["summary"] for each in policies]
    return Report(
        "tls",
        _required(_word(policies[0]["policy"]["policy-domain"])).lower().removesuffix("."),
        _word(found.get("organization-name", "")),
        _required(_word(found["report-id"])),
        _iso(dates["start-datetime"]),
        _iso(dates["end-datetime"]),
        _bounded(sum(_number(each["total-successful-session-count"]) for each in summaries)),
        _bounded(sum(_number(each["total-failure-session-count"]) for each in summaries)),
        tuple(row for row, _ in zip(_tls_rows(policies), range(MOST_ROWS), strict=False)),
    )


def _tls_rows(policies: Sequence[Any]) -> Iterator[Row]:
    """One for each policy, and one for each kind of failure under it."""
    for each in policies:
        kind = _word(each["policy"].get("policy-type", ""))
        yield {
            "policy": kind,
            "passed": _number(each["summary"]["total-successful-session-count"]),
            "failed": _number(each["summary"]["total-failure-session-count"]),
        }
        for failure in each.get("failure-details") or ():
            yield {
                "policy": kind,
                "failed": _number(failure["failed-session-count"]),
                "result": _word(failure.get("result-type", "")),
                "mx": _word(failure.get("receiving-mx-hostname", "")),
                "source": _word(failure.get("sending-mta-ip", "")),
                "reason": _word(failure.get("failure-reason-code", "")),
            }


# -- words ------------------------------------------------------------------------------------------------------------


def _word(value: object) -> str:
    """Of what can be printed."""
    if not isinstance(value, str):
        raise TypeError("no text")
    return "".join(each if each.isprintable() else "?" for each in value.strip()[:LONGEST])


def _required(word: str) -> str:
    if not word:
        raise ValueError("missing")
    return word


def _number(value: object) -> int:
    if not isinstance(value, str | int) or len(str(value)) > 16:
        raise ValueError("no number")
    return max(0, int(value))


def _bounded(count: int) -> int:
    return min(count, MOST_COUNT)


def _moment(seconds: str) -> datetime:
    return datetime.fromtimestamp(_number(seconds), UTC)


def _iso(value: object) -> datetime:
    found = datetime.fromisoformat(_word(value))
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
