"""SPF, DMARC and iprev against zones of a real server: what RFC 7208, RFC 9989 and RFC 8601 say comes of them."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from duckmail.clients.dns import Dns
from duckmail.errors import NotFound, Unavailable
from duckmail.model.mailauth import DkimResult, DmarcResult, SpfResult
from duckmail.runtime.threads import Pool
from duckmail.services.mailauth import dmarc, iprev, spf
from duckmail.services.mailauth.lookups import MAX_QUESTIONS, Lookups
from tests.support.dns_server import SERVFAIL, SILENCE, Zone, dns_server

CLIENT = "93.184.216.34"
POOL = Pool("test", 1)


@asynccontextmanager
async def lookups(zone: Zone, seconds: float = 60.0) -> AsyncIterator[Lookups]:
    async with dns_server(zone) as server:
        # What is silent in the zone is so for ever; all else is waited for, however busy the machine is.
        dns = Dns([server.address], timeout=0.3 if SILENCE in zone.values() else 30, tries=1, deadline=60)
        try:
            yield Lookups(dns, seconds)
        finally:
            await dns.close()


async def test_records_of_each_kind() -> None:
    zone: Zone = {
        ("long.example", "TXT"): ["x" * 600, "short"],
        ("alias.example", "CNAME"): ["long.example"],
        ("34.216.184.93.in-addr.arpa", "PTR"): ["Host.example", "b.example"],
        ("mx.example", "MX"): [(5, "A.example")],
        ("broken.example", "TXT"): SERVFAIL,
    }
    async with lookups(zone) as asked:
        assert list(await asked.records("long.example", "TXT")) == ["x" * 600, "short"]
        assert list(await asked.records("alias.example", "TXT")) == ["x" * 600, "short"]
        assert sorted(await asked.records("34.216.184.93.in-addr.arpa", "PTR")) == ["b.example", "host.example"]
        assert list(await asked.records("mx.example", "MX")) == ["5 a.example"]
        assert list(await asked.records("mx.example", "A")) == []
        for name in ("nowhere.example", "..", "a b.example", "x" * 64 + ".example", "back\\slash.example"):
            with pytest.raises(NotFound):
                await asked.records(name, "TXT")
        with pytest.raises(Unavailable):
            await asked.records("broken.example", "TXT")


async def test_questions_are_bounded_in_number_and_time() -> None:
    zone: Zone = {("a.example", "TXT"): ["x"], ("slow.example", "TXT"): SILENCE}
    async with lookups(zone) as asked:
        for number in range(MAX_QUESTIONS):
            assert not await asked.texts(f"n{number}.example")
        with pytest.raises(Unavailable):
            await asked.texts("a.example")
    async with dns_server(zone) as server:
        dns = Dns([server.address], timeout=300, tries=1, deadline=600)
        async with asyncio.timeout(60):
            with pytest.raises(Unavailable):
                await Lookups(dns, 0.1).texts("slow.example")
        await dns.close()


# -- SPF ---------------------------------------------------------------------------------------------------------------

A: Zone = {("host.example", "A"): [CLIENT], ("other.example", "A"): ["192.0.2.1"]}
MANY = {f"i{number}.example": "v=spf1 ?all" for number in range(12)}


def includes(number: int) -> str:
    return "v=spf1 " + " ".join(f"include:i{each}.example" for each in range(number)) + " +all"


@pytest.mark.parametrize(
    ("records", "result"),
    [
        pytest.param({}, "none", id="no-record"),
        pytest.param({"example.com": "v=spf10 +all"}, "none", id="4.5-another-version"),
        pytest.param({"example.com": ["v=spf1 +all", "v=spf1 -all"]}, "permerror", id="4.5-two-records"),
        pytest.param({"example.com": ["words", "v=spf1 -all"]}, "fail", id="4.5-other-text-beside"),
        pytest.param({"example.com": "v=spf1"}, "neutral", id="4.7-default"),
        pytest.param({"example.com": "v=spf1 ~all"}, "softfail", id="4.6.2-softfail"),
        pytest.param({"example.com": "V=SPF1 +ALL"}, "pass", id="4.6.1-case"),
        pytest.param({"example.com": "v=spf1 ?all"}, "neutral", id="4.6.2-neutral"),
        pytest.param({"example.com": "v=spf1 ip4:93.184.216.0/24 -all"}, "pass", id="5.6-ip4"),
        pytest.param({"example.com": "v=spf1 ip4:93.184.217.0/24 -all"}, "fail", id="5.6-ip4-another"),
        pytest.param({"example.com": "v=spf1 ip6:2001:db8::/32 -all"}, "fail", id="5.6-ip6-for-ip4"),
        pytest.param({"example.com": "v=spf1 ip4:1.2.3 -all"}, "permerror", id="5.6-syntax"),
        pytest.param({"example.com": "v=spf1 moo -all"}, "permerror", id="4.6-unknown-mechanism"),
        pytest.param({"example.com": "v=spf1 moo=x -all"}, "fail", id="6-unknown-modifier"),
        pytest.param({"example.com": "v=spf1 a:host.example -all"}, "pass", id="5.3-a"),
        pytest.param({"example.com": "v=spf1 a:other.example -all"}, "fail", id="5.3-a-another"),
        pytest.param({"example.com": "v=spf1 mx:mail.example -all"}, "pass", id="5.4-mx"),
        pytest.param({"example.com": "v=spf1 ptr:host.example -all"}, "pass", id="5.5-ptr"),
        pytest.param({"example.com": "v=spf1 exists:%{ir}.%{l}.list.example -all"}, "pass", id="5.7-exists-macro"),
        pytest.param({"example.com": "v=spf1 exists:%{z}.example -all"}, "permerror", id="7-macro-syntax"),
        pytest.param(
            {"example.com": "v=spf1 include:in.example -all", "in.example": "v=spf1 a:host.example"}, "pass",
            id="5.2-include-pass",
        ),
        pytest.param(
            {"example.com": "v=spf1 include:in.example ~all", "in.example": "v=spf1 -all"}, "softfail",
            id="5.2-include-fail-is-no-match",
        ),
        pytest.param({"example.com": "v=spf1 include:in.example -all"}, "permerror", id="5.2-include-none"),
        pytest.param(
            {"example.com": "v=spf1 include:in.example -all", "in.example": SERVFAIL}, "temperror",
            id="5.2-include-temperror",
        ),
        pytest.param(
            {"example.com": "v=spf1 redirect=in.example", "in.example": "v=spf1 -all"}, "fail", id="6.1-redirect"
        ),
        pytest.param({"example.com": "v=spf1 redirect=in.example"}, "permerror", id="6.1-redirect-none"),
        pytest.param({"example.com": "v=spf1 -all exp=why.example"}, "fail", id="6.2-exp"),
        pytest.param({"example.com": "v=spf1 redirect=example.com"}, "permerror", id="4.6.4-circle"),
        pytest.param({"example.com": includes(10), **MANY}, "pass", id="4.6.4-ten"),
        pytest.param({"example.com": includes(11), **MANY}, "permerror", id="4.6.4-eleven"),
        pytest.param({"example.com": "v=spf1 a:v1.example a:v2.example +all"}, "pass", id="4.6.4-two-void"),
        pytest.param(
            {"example.com": "v=spf1 a:v1.example a:v2.example a:v3.example +all"}, "permerror", id="4.6.4-three-void"
        ),
        pytest.param({"example.com": "v=spf1 " + "?ip4:192.0.2.1 " * 300 + "+all"}, "permerror", id="too-long"),
        pytest.param({"example.com": SERVFAIL}, "temperror", id="2.6.6-no-answer"),
        pytest.param({"example.com": SILENCE}, "temperror", id="2.6.6-silence"),
    ],
)  # fmt: skip
async def test_spf(records: Mapping[str, Sequence[str] | str], result: str) -> None:
    zone: dict[tuple[str, str], Sequence[object] | str] = {
        **A,
        ("mail.example", "MX"): [(10, "other.example"), (20, "host.example")],
        ("34.216.184.93.in-addr.arpa", "PTR"): ["host.example"],
        ("34.216.184.93.anna.list.example", "A"): ["127.0.0.2"],
    }
    for name, value in records.items():
        whole = value in (SERVFAIL, SILENCE) or not isinstance(value, str)
        zone[name, "TXT"] = value if whole else [value]
    async with lookups(zone) as asked:
        found = await spf.check(asked, POOL, CLIENT, "client.example", "anna@example.com")
    assert (found.result, found.scope, found.domain) == (result, "mailfrom", "example.com")


async def test_spf_of_the_null_sender_is_of_helo() -> None:
    async with lookups({("client.example", "TXT"): ["v=spf1 a:host.example -all"], **A}) as asked:
        found = await spf.check(asked, POOL, CLIENT, "client.example", "")
    assert (found.result, found.scope, found.identity) == ("pass", "helo", "client.example")


@pytest.mark.parametrize(("end", "result"), [("::1", "pass"), ("::2", "fail")])
async def test_spf_of_ip6(end: str, result: str) -> None:
    zone: Zone = {
        ("example.com", "TXT"): ["v=spf1 a:six.example -all"], ("six.example", "AAAA"): ["2606:2800:220:1::1"],
    }  # fmt: skip
    async with lookups(zone) as asked:
        assert (await spf.check(asked, POOL, "2606:2800:220:1" + end, "h.example", "a@example.com")).result == result


# -- DMARC -------------------------------------------------------------------------------------------------------------

SIGNED = DkimResult("pass", domain="example.com")


def mailed(domain: str, result: str = "pass") -> SpfResult:
    return SpfResult(result, identity=f"a@{domain}", domain=domain)


ONE = {"example.com": "v=DMARC1; p=reject"}


@pytest.mark.parametrize(
    ("domain", "records", "dkim", "sent", "result", "policy"),
    [
        pytest.param("example.com", {}, SIGNED, None, "none", "", id="no-record"),
        pytest.param("example.com", ONE, SIGNED, None, "pass", "reject", id="dkim"),
        pytest.param("example.com", ONE, None, mailed("example.com"), "pass", "reject", id="spf"),
        pytest.param("example.com", ONE, None, mailed("bounce.example.com"), "pass", "reject", id="relaxed-below"),
        pytest.param("news.example.com", ONE, SIGNED, None, "pass", "reject", id="relaxed-above"),
        pytest.param("a.example.com", ONE, None, mailed("b.example.com"), "pass", "reject", id="relaxed-beside"),
        pytest.param("example.com", ONE, None, mailed("example.org"), "fail", "reject", id="another"),
        pytest.param("example.com", ONE, None, mailed("badexample.com"), "fail", "reject", id="no-label-boundary"),
        pytest.param("example.com", ONE, None, mailed("example.com", "softfail"), "fail", "reject", id="softfail"),
        pytest.param(
            "example.com", ONE, None, mailed("example.com", "temperror"), "temperror", "reject", id="temperror"
        ),
        pytest.param(
            "news.example.com", {"example.com": "v=DMARC1; p=reject; adkim=s"}, SIGNED, None, "fail", "reject",
            id="strict-dkim",
        ),
        pytest.param(
            "example.com", {"example.com": "v=DMARC1; p=none; aspf=s"}, None, mailed("b.example.com"), "fail", "none",
            id="strict-spf",
        ),
        pytest.param(
            "a.example.com", {"example.com": "v=DMARC1; p=reject; sp=quarantine; np=none"}, None, None, "fail",
            "quarantine", id="sp",
        ),
        pytest.param(
            "missing.example.com", {"example.com": "v=DMARC1; p=none; np=reject"}, None, None, "fail", "reject",
            id="np",
        ),
        pytest.param(
            "example.com", {"example.com": "v=DMARC1; p=reject; t=y"}, None, None, "fail", "quarantine", id="t"
        ),
        pytest.param(
            "example.com", {"example.com": "v=DMARC1; p=reject; pct=0"}, None, None, "fail", "reject", id="pct-ignored"
        ),
        pytest.param(
            "example.com", {"example.com": ["v=DMARC1; p=reject", "v=DMARC1; p=none"]}, None, None, "none", "",
            id="two-records",
        ),
        pytest.param("example.com", {"example.com": "v=DMARC2; p=reject"}, None, None, "none", "", id="version"),
        pytest.param("example.com", {"example.com": "v=DMARC1; p=perhaps"}, None, None, "none", "", id="no-policy"),
        pytest.param(
            "example.com", {"example.com": "v=DMARC1; rua=mailto:a@example.com"}, None, None, "fail", "none",
            id="no-policy-but-reports",
        ),
        pytest.param(
            "a.unit.example.com", {"unit.example.com": "v=DMARC1; p=reject; psd=n", **ONE}, SIGNED, None, "fail",
            "reject", id="psd-n-ends-the-walk",
        ),
        pytest.param(
            "shop.city.example", {"city.example": "v=DMARC1; p=reject; psd=y"}, None, mailed("other.city.example"),
            "fail", "reject", id="psd-y-is-nobodys-organization",
        ),
        pytest.param(
            "a.shop.city.example", {"city.example": "v=DMARC1; p=reject; psd=y"}, None, mailed("shop.city.example"),
            "pass", "reject", id="psd-y-one-below",
        ),
        pytest.param("example.com", {"example.com": SERVFAIL}, SIGNED, None, "temperror", "", id="no-answer"),
    ],
)  # fmt: skip
async def test_dmarc(
    domain: str,
    records: Mapping[str, Sequence[str] | str],
    dkim: DkimResult | None,
    sent: SpfResult | None,
    result: str,
    policy: str,
) -> None:
    zone: dict[tuple[str, str], Sequence[object] | str] = {
        (name, "A"): ["192.0.2.1"] for name in ("a.example.com", "news.example.com", "shop.city.example")
    }
    for name, value in records.items():
        whole = value == SERVFAIL or not isinstance(value, str)
        zone[f"_dmarc.{name}", "TXT"] = value if whole else [value]
    async with lookups(zone) as asked:
        found = await dmarc.check(asked, domain, [dkim] if dkim else [], sent)
    assert found == DmarcResult(result, domain, policy)


async def test_dmarc_walks_up_a_long_name_in_eight_questions() -> None:
    """RFC 9989 §4.10: the name itself, then the last seven labels and what is above."""
    async with dns_server({("_dmarc.example.com", "TXT"): ["v=DMARC1; p=reject"]}) as server:
        dns = Dns([server.address], timeout=30, tries=1, deadline=60)
        try:
            name = "a.b.c.d.e.f.g.h.i.j.example.com"
            records = await dmarc.walk(Lookups(dns, 60), name)
        finally:
            await dns.close()
        assert [each for each, _ in records] == ["example.com"]
        assert [asked for asked, _ in server.asked] == [
            "_dmarc." + each
            for each in (
                name, "f.g.h.i.j.example.com", "g.h.i.j.example.com", "h.i.j.example.com", "i.j.example.com",
                "j.example.com", "example.com", "com",
            )
        ]  # fmt: skip


async def test_dmarc_does_not_fail_what_spf_could_have_passed() -> None:
    async with lookups({("_dmarc.example.com", "TXT"): ["v=DMARC1; p=reject"]}) as asked:
        assert await dmarc.check(asked, "example.com", [], None, spf_unknown=True) is None
        found = await dmarc.check(asked, "example.com", [SIGNED], None, spf_unknown=True)
        assert found is not None
        assert found.result == "pass"


# -- iprev -------------------------------------------------------------------------------------------------------------

POINTER = ("34.216.184.93.in-addr.arpa", "PTR")


@pytest.mark.parametrize(
    ("zone", "result"),
    [
        pytest.param({POINTER: ["host.example"], **A}, "pass", id="there-and-back"),
        pytest.param({POINTER: ["other.example"], **A}, "fail", id="another-address"),
        pytest.param({POINTER: ["nowhere.example"]}, "fail", id="no-such-name"),
        pytest.param({}, "permerror", id="no-name"),
        pytest.param({POINTER: SERVFAIL}, "temperror", id="no-answer"),
    ],
)
async def test_iprev(zone: Zone, result: str) -> None:
    async with lookups(zone) as asked:
        assert (await iprev.check(asked, CLIENT)).result == result
