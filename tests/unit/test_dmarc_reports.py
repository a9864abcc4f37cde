"""DMARC aggregate reports: what came of incoming mail is counted, and told once to the domains that want to know."""

import email
import email.policy
import gzip
from datetime import UTC, date, datetime, timedelta
from xml.etree.ElementTree import Element

import pytest
from defusedxml.ElementTree import fromstring

from duckmail.clients.dns import Dns
from duckmail.mime.reportmail import About
from duckmail.model.dmarcreport import Evaluated, Method, evaluated
from duckmail.model.envelope import Envelope
from duckmail.model.mailauth import Authentication, DkimResult, DmarcResult, Published, SpfResult
from duckmail.runtime.threads import Pool
from duckmail.services.inspection import Inspection
from duckmail.services.mailauth.aggregate import packed, targets
from duckmail.services.mailauth.reports import DmarcReports
from duckmail.services.mailauth.verifier import Policy, Verifier
from duckmail.services.tally import Tally
from tests.support.dns_server import SERVFAIL, Zone, dns_server
from tests.support.outbound import World, outbound

HOSTNAME = "mx.example.com"
CLIENT = "93.184.216.34"
XML = "{urn:ietf:params:xml:ns:dmarc-2.0}"
ZONE: Zone = {
    ("good.test", "TXT"): [f"v=spf1 ip4:{CLIENT} -all"],
    ("_dmarc.good.test", "TXT"): ["v=DMARC1; p=reject; sp=none; rua=mailto:dmarc@good.test!10m, mailto:x@agrees.test"],
    ("good.test._report._dmarc.agrees.test", "TXT"): ["v=DMARC1;"],
    ("_dmarc.silent.test", "TXT"): ["v=DMARC1; p=reject"],
    ("_dmarc.away.test", "TXT"): ["v=DMARC1; p=none; rua=mailto:victim@elsewhere.test"],
    ("_dmarc.waits.test", "TXT"): ["v=DMARC1; p=none; rua=mailto:x@broken.test"],
    ("waits.test._report._dmarc.broken.test", "TXT"): SERVFAIL,
}
MESSAGE = "From: a@{0}\r\nMessage-ID: <1@{0}>\r\n\r\nHello\r\n"


def envelope(sender: str, *, direct: bool = True) -> Envelope:
    return Envelope(sender, host=CLIENT, helo="mail.test", protocol="ESMTP", direct=direct)


async def inspect(inspection: Inspection, domain: str, sender: str) -> None:
    raw = MESSAGE.format(domain).encode()
    await inspection.inspect(envelope(sender), ["anna@example.com"], raw, raw.partition(b"\r\n\r\n")[0] + b"\r\n")


async def test_a_domain_is_told_once_what_came_of_mail_in_its_name(mongo_uri: str, database_name: str) -> None:
    today = datetime.now(UTC).date()
    tomorrow = today + timedelta(days=1)
    world = World()
    async with outbound(mongo_uri, database_name, world) as one, dns_server(ZONE) as names:
        dns = Dns([names.address], timeout=30, tries=1, deadline=60)
        tally = Tally(one.store.dmarc_results, "DMARC")
        inspection = Inspection(Verifier(dns, one.pool, Policy(HOSTNAME, 30.0)), note=tally.note)
        for _ in range(3):
            await inspect(inspection, "good.test", "a@good.test")
        await inspect(inspection, "good.test", "b@evil.test")
        for domain in ("silent.test", "away.test", "waits.test", "none.test"):
            await inspect(inspection, domain, "b@evil.test")
        await tally.flush()
        reports = DmarcReports(one.store, one.queue, dns, HOSTNAME)
        assert await reports.report(today) == {"sent": 0, "unwanted": 0, "put off": 0}, "the day is not over"
        assert await reports.report(tomorrow) == {"sent": 1, "unwanted": 1, "put off": 1}
        assert await reports.report(tomorrow) == {"sent": 0, "unwanted": 0, "put off": 1}, "once"
        assert await reports.report(today + timedelta(days=5)) == {"sent": 0, "unwanted": 0, "put off": 1}
        assert await one.store.dmarc_results.domains(today + timedelta(days=5), 10) == [], "given up"
        await one.all_ended()
        await dns.close()
    assert sorted(name for mail in world.taken for name in mail.recipients) == ["dmarc@good.test", "x@agrees.test"]
    check(world.taken[0].octets, today)


# RFC 9990 §3.1.1, Appendix A: what is in each element, in this order where it is a list; how often (`?` at most once,
# `*` any number, `+` once or more); of what has text, the values it may have.
ORDERED: dict[str, list[str]] = {
    "feedback": ["version?", "report_metadata", "policy_published", "extension?", "record+"],
    "policy_evaluated": ["disposition", "dkim", "spf", "reason*"],
    "auth_results": ["dkim*", "spf?"],
    "record": ["row", "identifiers", "auth_results"],
}
UNORDERED: dict[str, list[str]] = {
    "report_metadata": [
        "org_name", "email", "extra_contact_info?", "report_id", "date_range", "error?", "generator?",
    ],
    "date_range": ["begin", "end"],
    "policy_published": [
        "domain", "p", "sp?", "np?", "adkim?", "aspf?", "discovery_method?", "fo?", "testing?",
    ],
    "row": ["source_ip", "count", "policy_evaluated"],
    "identifiers": ["header_from", "envelope_from?", "envelope_to?"],
    "reason": ["type", "comment?"],
    "auth_results/dkim": ["domain", "selector", "result", "human_result?"],
    "auth_results/spf": ["domain", "scope?", "result", "human_result?"],
}  # fmt: skip
POLICIES = {"none", "quarantine", "reject"}
RESULTS = {"none", "pass", "fail", "policy", "neutral", "temperror", "permerror"}
VALUES: dict[str, set[str]] = {
    "version": {"1.0"},
    "p": POLICIES, "sp": POLICIES, "np": POLICIES,
    "adkim": {"r", "s"}, "aspf": {"r", "s"}, "testing": {"y", "n"}, "discovery_method": {"psl", "treewalk"},
    "disposition": POLICIES | {"pass"},
    "policy_evaluated/dkim": {"pass", "fail"}, "policy_evaluated/spf": {"pass", "fail"},
    "type": {"local_policy", "mailing_list", "other", "policy_test_mode", "trusted_forwarder"},
    "scope": {"mfrom"},
    "dkim/result": RESULTS, "spf/result": RESULTS | {"softfail"},
}  # fmt: skip


def obeys(element: Element, parent: str = "") -> None:
    """Fails where the report is not as the schema has it."""
    name = element.tag.removeprefix(XML)
    where = f"{parent}/{name}"
    assert element.tag.startswith(XML), where
    ordered = ORDERED.get(name)
    wanted = ordered or UNORDERED.get(name) or UNORDERED.get(where)
    if where in ("policy_evaluated/dkim", "policy_evaluated/spf") or wanted is None:
        values = VALUES.get(where) or VALUES.get(name)
        assert len(element) == 0, where
        assert values is None or element.text in values, (where, element.text)
        if name in ("begin", "end", "count"):
            assert (element.text or "").isdigit(), where
        return
    found = [child.tag.removeprefix(XML) for child in element]
    names = [each.rstrip("?*+") for each in wanted]
    assert set(found) <= set(names), (where, found)
    for each, child in zip(wanted, names, strict=True):
        number = found.count(child)
        assert number > 0 or each[-1] in "?*", (where, child)
        assert number < 2 or each[-1] in "*+", (where, child)
    if ordered:
        assert found == sorted(found, key=names.index), where
    for child in element:
        obeys(child, name)


HELO = SpfResult("softfail", "helo", "mail.test", "mail.test", CLIENT)
MAIL = SpfResult("pass", "mailfrom", "a@d.test", "d.test", CLIENT)
BROKEN = (
    DkimResult("permerror", domain="d.test"),
    DkimResult("fail", domain="d.test", selector="s"),
    DkimResult("neutral"),
)
LOWERED = "policy_test_mode"
STRICT = Published("d.test", "reject", "none", "quarantine", strict_dkim=True, strict_spf=True, reports=True)
TESTS = Published("d.test", "reject", testing=True, reports=True)
WANTS_NOTHING = Published("d.test", "none", testing=True, reports=True)


@pytest.mark.parametrize(
    ("spf", "dkim", "dmarc", "done", "override"),
    [
        pytest.param(MAIL, (), DmarcResult("pass", "d.test", "reject", STRICT, spf=True), "", "", id="passed"),
        pytest.param(HELO, BROKEN, DmarcResult("fail", "d.test", "reject", STRICT), "", "local_policy", id="no-sender"),
        pytest.param(HELO, (), DmarcResult("fail", "d.test", "quarantine", TESTS), "quarantine", LOWERED, id="t=y"),
        pytest.param(HELO, (), DmarcResult("fail", "x.d.test", "none", WANTS_NOTHING), "", "", id="t=y-of-nothing"),
    ],
)  # fmt: skip
def test_reports_are_as_the_schema_has_them(
    spf: SpfResult, dkim: tuple[DkimResult, ...], dmarc: DmarcResult, done: str, override: str
) -> None:
    kind = evaluated(Authentication(spf=spf, dkim=dkim, dmarc=dmarc), "", done, "reject")
    assert kind is not None
    assert kind.override == override
    about = About(HOSTNAME, "d.test", f"x@{HOSTNAME}", "1", date(2026, 11, 22))
    root = fromstring(gzip.decompress(packed(about, kind.published, [(kind, 2)])))
    obeys(root)
    assert root.findtext(f".//{XML}scope") == "mfrom"
    assert len(root.findall(f".//{XML}auth_results/{XML}dkim")) == (1 if dkim else 0)


def check(octets: bytes, day: date) -> None:
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert (
        str(message["Subject"])
        .replace("\t", " ")
        .startswith(f"Report Domain: good.test Submitter: {HOSTNAME} Report-ID: ")
    )
    (file,) = message.iter_attachments()
    begin = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    assert (file.get_filename() or "").startswith(f"{HOSTNAME}!good.test!{begin}!{begin + 86399}!")
    assert file.get_content_type() == "application/gzip"
    root = fromstring(gzip.decompress(file.get_content()))
    obeys(root)
    assert texts(root, "policy_published") == {
        "domain": "good.test", "adkim": "r", "aspf": "r", "p": "reject", "sp": "none", "testing": "n",
        "discovery_method": "treewalk",
    }  # fmt: skip
    assert texts(root, "report_metadata/{0}date_range") == {"begin": str(begin), "end": str(begin + 86399)}
    records = sorted(root.findall(f"{XML}record"), key=lambda each: texts(each, "row")["count"])
    assert [texts(each, "row")["count"] for each in records] == ["1", "3"]
    assert [texts(each, "row/{0}policy_evaluated") for each in records] == [
        {"disposition": "reject", "dkim": "fail", "spf": "fail"},
        {"disposition": "pass", "dkim": "fail", "spf": "pass"},
    ]
    assert [texts(each, "identifiers") for each in records] == [
        {"envelope_from": "evil.test", "header_from": "good.test"},
        {"envelope_from": "good.test", "header_from": "good.test"},
    ]
    assert texts(records[1], "auth_results/{0}spf") == {"domain": "good.test", "scope": "mfrom", "result": "pass"}
    assert {texts(each, "row")["source_ip"] for each in records} == {CLIENT}


def texts(element: Element, path: str) -> dict[str, str]:
    """The children that have text."""
    found = element.find(XML + path.format(XML))
    assert found is not None, path
    return {each.tag.removeprefix(XML): each.text or "" for each in found if not len(each)}


@pytest.mark.parametrize(
    ("direct", "mode", "sender", "disposition", "override"),
    [
        pytest.param(True, "honour", "b@evil.test", "reject", "", id="refused"),
        pytest.param(True, "quarantine", "b@evil.test", "quarantine", "local_policy", id="filed"),
        pytest.param(True, "label", "b@evil.test", "none", "local_policy", id="labelled"),
        pytest.param(True, "honour", "b@good.test", "pass", "", id="passed"),
    ],
)
async def test_what_was_done_is_told(direct: bool, mode: str, sender: str, disposition: str, override: str) -> None:
    noted: list[Evaluated] = []
    pool = Pool("test", 1)
    async with dns_server(ZONE) as names:
        dns = Dns([names.address], timeout=30, tries=1, deadline=60)
        verifier = Verifier(dns, pool, Policy(HOSTNAME, 30.0))
        await inspect(Inspection(verifier, note=noted.append, direct=mode), "good.test", sender)
        await dns.close()
    pool.close()
    assert [(each.disposition, each.override) for each in noted] == [(disposition, override)]


def test_what_strangers_chose_stays_text() -> None:
    hostile = "<x>&\x00]]>\ud800"
    kind = Evaluated(
        Published("d.test", "none", reports=True), CLIENT, "none", False, False, hostile, hostile, "",
        (Method(hostile, hostile, "fail"),), Method(hostile, "mfrom", "fail"),
    )  # fmt: skip
    about = About(HOSTNAME, "d.test", f"x@{HOSTNAME}", "1", date(2026, 11, 22))
    octets = packed(about, kind.published, [(kind, 1)])
    assert octets == packed(about, kind.published, [(kind, 1)]), "the same each time"
    root = fromstring(gzip.decompress(octets))
    record = root.find(f"{XML}record")
    assert record is not None
    assert texts(record, "identifiers") == dict.fromkeys(("envelope_from", "header_from"), "<x>&?]]>?")


@pytest.mark.parametrize(
    ("uris", "wanted"),
    [
        ("mailto:a@b.test", ["a@b.test"]),
        ("mailto:a@b.test!10m , MAILTO:c@d.test?x=y", ["a@b.test", "c@d.test"]),
        ("https://b.test/", []),
        ("mailto:a@b.test\r\nBcc:x@y.test", []),
        ("mailto:a@b.test,mailto:a@b.test", ["a@b.test"]),
        (",".join(f"mailto:a{number}@b.test" for number in range(9)), [f"a{number}@b.test" for number in range(5)]),
        ("", []),
    ],
)
def test_where_reports_are_wanted(uris: str, wanted: list[str]) -> None:
    assert targets(uris) == wanted
