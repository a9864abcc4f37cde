"""Reports of others by mail to an address here: delivered, and listed by `duckmail report` and by the API."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from duckmail.config.mailauth import Mailauth
from duckmail.config.schema import Config
from duckmail.mime import tlsreport
from duckmail.mime.reportmail import About
from duckmail.model.dmarcreport import Evaluated
from duckmail.model.envelope import Envelope
from duckmail.model.mailauth import Published
from duckmail.services.mailauth import aggregate
from tests.support.commands import duckmail
from tests.support.house import PASSWORD, House, open_house

DAY = date(2026, 11, 22)
NOW = datetime(2026, 11, 23, tzinfo=UTC)
ADDRESS = "anna@example.com"


@pytest.fixture
async def house(mongo_uri: str, database_name: str) -> AsyncIterator[House]:
    config = Config(mailauth=Mailauth(report_addresses=(ADDRESS,)))
    async with open_house(mongo_uri, database_name, config=config) as opened:
        await opened.make_user()
        yield opened


def dmarc_mail(domain: str, to: str = ADDRESS) -> bytes:
    published = Published(domain, "reject", reports=True)
    kind = Evaluated(published, "192.0.2.1", "reject", False, False, domain, "evil.test")
    about = About("mx.big.test", domain, "x@mx.big.test", f"id-{domain}", DAY)
    return aggregate.message(about, to, aggregate.packed(about, published, [(kind, 4)]), NOW)


def tls_mail() -> bytes:
    policy = {
        "policy": {"policy-type": "sts", "policy-domain": "one.test"},
        "summary": {"total-successful-session-count": 7, "total-failure-session-count": 0},
    }
    about = About("mx.big.test", "one.test", "x@mx.big.test", "8", DAY)
    return tlsreport.message(about, ADDRESS, tlsreport.packed(about, [policy]), NOW)


async def deliver(house: House, raw: bytes, to: str = ADDRESS) -> None:
    delivery = house.services.delivery
    (verdict,) = await delivery.deliver(Envelope("x@mx.big.test"), raw, [await delivery.recipient(to)])
    assert verdict.appended is not None


async def test_reports_are_listed(house: House, mongo_uri: str, database_name: str, tmp_path: Path) -> None:
    for raw in (
        dmarc_mail("one.test"),
        dmarc_mail("one.test"),
        dmarc_mail("two.test"),
        tls_mail(),
        b"A: b\r\n\r\nx\r\n",
    ):
        await deliver(house, raw)
    page = (await house.call("GET", "/duckmail/reports?limit=2")).json
    assert [(row["type"], row["domain"]) for row in page["results"]] == [("tls", "one.test"), ("dmarc", "two.test")]
    rest = (await house.call("GET", f"/duckmail/reports?limit=2&next={page['nextCursor']}")).json
    assert ([row["reportId"] for row in rest["results"]], rest["nextCursor"]) == (["id-one.test"], False)
    for query, count in (
        ("type=tls", 1),
        ("domain=one.test", 2),
        ("type=dmarc&domain=ONE.test", 1),
        ("domain=x.test", 0),
    ):
        assert len((await house.call("GET", f"/duckmail/reports?{query}")).json["results"]) == count, query
    one = (await house.call("GET", f"/duckmail/reports/{rest['results'][0]['id']}")).json
    assert (one["passed"], one["failed"], one["verified"], one["begin"]) == (0, 4, False, "2026-11-22T00:00:00.000Z")
    assert [(row["source"], row["count"]) for row in one["rows"]] == [("192.0.2.1", 4)]
    file = tmp_path / "duckmail.toml"
    file.write_text(
        f'[server]\nhostname = "mx.example.com"\n[mongo]\nuri = "{mongo_uri}"\ndatabase = "{database_name}"\n'
        '[redis]\nurl = "none"\n'
    )
    listed = await asyncio.to_thread(duckmail, "report", "list", "--type", "dmarc", "--config", str(file))
    shown = await asyncio.to_thread(duckmail, "report", "show", one["id"], "--config", str(file))
    assert [line.split()[3] for line in listed.stdout.splitlines()] == ["two.test", "one.test"]
    assert "0 passed, 4 failed  by mx.big.test (not verified)" in listed.stdout
    assert json.loads(shown.stdout)["rows"] == one["rows"]


async def test_who_may_see_them(house: House) -> None:
    missing = await house.call("GET", "/duckmail/reports/0123456789abcdef01234567")
    assert (missing.status, missing.json["code"]) == (404, "ReportNotFound")
    for path in ("/duckmail/reports/x", "/duckmail/reports?type=x"):
        assert (await house.call("GET", path)).json["code"] == "InputValidationError"
    body = {"username": "anna", "password": PASSWORD, "token": True}
    token = (await house.call("POST", "/authenticate", body)).json["token"]
    for path in ("/duckmail/reports", "/duckmail/reports/0123456789abcdef01234567"):
        refused = await house.call("GET", path, token=token)
        assert (refused.status, refused.json["code"]) == (403, "MissingPrivileges")


async def test_only_what_comes_to_the_address(house: House) -> None:
    await house.make_user("bert")
    await deliver(house, dmarc_mail("one.test", "bert@example.com"), "bert@example.com")
    assert (await house.call("GET", "/duckmail/reports")).json["results"] == []
