"""Reports that others send: what is read of them, and what nobody can do with them."""

import gzip
import io
import json
import zipfile
import zlib
from datetime import UTC, date, datetime
from typing import Any

import pytest

from duckmail.mime import tlsreport
from duckmail.mime.reportmail import About
from duckmail.mime.reportread import MOST_OCTETS, MOST_ROWS, NoReport, read, read_file
from duckmail.model.dmarcreport import Evaluated
from duckmail.model.mailauth import Published
from duckmail.services.mailauth import aggregate

DAY = date(2026, 11, 22)
START = datetime(2026, 11, 22, tzinfo=UTC)
XML = """<?xml version="1.0"?>
<feedback{0}><report_metadata><org_name>Big Mail</org_name><report_id>1</report_id>
<date_range><begin>1795305600</begin><end>1795391999</end></date_range></report_metadata>
<policy_published><domain>Good.test</domain><p>none</p></policy_published>{1}</feedback>"""
RECORD = """<record><row><source_ip>192.0.2.1</source_ip><count>{0}</count><policy_evaluated>
<disposition>none</disposition><dkim>{1}</dkim><spf>fail</spf></policy_evaluated></row>
<identifiers><header_from>good.test</header_from></identifiers></record>"""
RECORDS = RECORD.format(3, "pass") + RECORD.format(2, "fail")
TLS: dict[str, Any] = {
    "organization-name": "Big Mail",
    "date-range": {"start-datetime": "2026-11-22T00:00:00Z", "end-datetime": "2026-11-22T23:59:59Z"},
    "report-id": "1",
    "policies": [
        {
            "policy": {"policy-type": "sts", "policy-domain": "good.test"},
            "summary": {"total-successful-session-count": 7, "total-failure-session-count": 2},
            "failure-details": [{"result-type": "certificate-expired", "failed-session-count": 2}],
        }
    ],
}


def zipped(octets: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("report.xml", octets)
    return file.getvalue()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zipped])
@pytest.mark.parametrize("namespace", ["", ' xmlns="urn:ietf:params:xml:ns:dmarc-2.0"'])
def test_dmarc(namespace: str, pack: Any) -> None:
    report = read_file(pack(XML.format(namespace, RECORDS).encode()))
    assert (report.kind, report.domain, report.organization, report.id) == ("dmarc", "good.test", "Big Mail", "1")
    assert (report.begin, report.passed, report.failed) == (START, 3, 2)
    assert report.rows[0] == {
        "source": "192.0.2.1", "count": 3, "disposition": "none", "dkim": "pass", "spf": "fail",
        "headerFrom": "good.test", "envelopeFrom": "",
    }  # fmt: skip


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_tls(pack: Any) -> None:
    report = read_file(pack(json.dumps(TLS).encode()))
    assert (report.kind, report.domain, report.begin) == ("tls", "good.test", START)
    assert (report.passed, report.failed) == (7, 2)
    assert report.rows[0] == {"policy": "sts", "passed": 7, "failed": 2}
    assert report.rows[1]["result"] == "certificate-expired"


def test_ours_are_read() -> None:
    published = Published("d.test", "reject", reports=True)
    kind = Evaluated(published, "192.0.2.1", "reject", False, False, "d.test", "evil.test")
    about = About("mx.test", "d.test", "x@mx.test", "7", DAY)
    octets = aggregate.packed(about, published, [(kind, 4)])
    report = read(aggregate.message(about, "r@d.test", octets, START))
    assert (report.kind, report.domain, report.id, report.begin) == ("dmarc", "d.test", "7", START)
    assert (report.passed, report.failed) == (0, 4)
    policy = TLS["policies"][0]
    to = About("mx.test", "d.test", "x@mx.test", "8", DAY)
    report = read(tlsreport.message(to, "r@d.test", tlsreport.packed(to, [policy]), START))
    assert (report.kind, report.id, report.passed, report.failed) == ("tls", "8", 7, 2)


ENTITIES = '<!DOCTYPE f [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
LOCAL = '<!DOCTYPE f [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"words", id="words"),
        pytest.param(b"<feedback>", id="cut-off"),
        pytest.param(b"<html/>", id="another-document"),
        pytest.param(XML.format("", RECORD.format("9" * 400, "pass")).encode(), id="a-number-without-end"),
        pytest.param((ENTITIES + XML[22:].format("", "&b;")).encode(), id="entities"),
        pytest.param((LOCAL + XML[22:].format("", "&a;")).encode(), id="a-local-file"),
        pytest.param(gzip.compress(b" " * (MOST_OCTETS + 1)), id="gzip-bomb"),
        pytest.param(zipped(b" " * (MOST_OCTETS + 1)), id="zip-bomb"),
        pytest.param(b"<a>" * 500_000, id="too-many-elements"),
        pytest.param(b"{" + b"[" * 300_000, id="too-deep"),
        pytest.param(b'{"a":' * 50_000, id="deep"),
        pytest.param(gzip.compress(XML.format("", RECORDS).encode())[:-60], id="gzip-cut-off"),
        pytest.param(zipped(b"<feedback/>")[:-30], id="zip-cut-off"),
        pytest.param(zlib.compress(b"x"), id="zlib"),
        pytest.param(json.dumps({**TLS, "policies": []}).encode(), id="no-policy"),
        pytest.param(json.dumps({**TLS, "policies": {"a": 1}}).encode(), id="a-policy-of-another-shape"),
        pytest.param(json.dumps({**TLS, "report-id": 5}).encode(), id="an-id-of-another-type"),
        pytest.param(json.dumps({**TLS, "date-range": {"start-datetime": "x", "end-datetime": "y"}}).encode()),
    ],
)
def test_what_is_no_report(octets: bytes) -> None:
    with pytest.raises(NoReport):
        read_file(octets)


def test_all_are_counted_and_the_first_are_kept() -> None:
    report = read_file(XML.format("", RECORD.format(2, "pass") * (MOST_ROWS + 5)).encode())
    assert (report.passed, len(report.rows)) == (2 * (MOST_ROWS + 5), MOST_ROWS)


def test_words_are_short_and_can_be_printed() -> None:
    report = read_file(XML.replace("Big Mail", "\x85\u202e" + "x" * 5000).format("", "").encode())
    assert report.organization == "?" + "x" * 252
    assert report.organization.isprintable()
