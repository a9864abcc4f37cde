"""TLS reports, in a small Internet: what came of TLS is counted, and told once to those that want to know."""

import asyncio
import base64
import email
import email.policy
import gzip
import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from duckmail.errors import Unavailable
from duckmail.mime.tlsreport import targets
from duckmail.model.transport import Applied, Failure, Found, Session
from duckmail.services.transport.results import Results
from duckmail.services.transport.tlsreports import TlsReports
from tests.support.internet import HOSTNAME, Host, Internet, internet
from tests.support.outbound import Outbound, World, outbound

ZONE = """
wants.test. 60 IN MX 10 mx.strange.test.
wants.test. 60 IN MX 20 mx.good.test.
_smtp._tls.wants.test. 60 IN TXT "v=TLSRPTv1; rua=mailto:reports@sink.test,https://sink.test/tls"
_mta-sts.wants.test. 60 IN TXT "v=STSv1; id=a1"
wants-not.test. 60 IN MX 10 mx.good.test.
waits.test. 60 IN MX 10 mx.good.test.
_smtp._tls.waits.test. 60 IN TXT "v=TLSRPTv1; rua=https://nobody.test/tls"
sink.test. 60 IN MX 10 mx.good.test.
mx.good.test. 60 IN A {mx.good.test}
mx.strange.test. 60 IN A {mx.strange.test}
"""
POLICY = "version: STSv1\nmode: enforce\nmx: mx.good.test\nmx: mx.strange.test\nmax_age: 86400\n"


class Posts:
    """Takes what is posted to sink.test, and nothing for anybody else."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, bytes, str]] = []

    async def post(self, url: str, body: bytes, size: int, headers: dict[str, str]) -> Any:
        if "sink.test" not in url:
            raise Unavailable("No connection")
        assert size == len(body)
        self.bodies.append((url, body, headers["Content-Type"]))
        return type("Answer", (), {"status": 201})


@pytest.fixture
async def net(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Internet]:
    hosts = [Host("mx.good.test", tls=True), Host("mx.strange.test", tls=True, stranger=True)]
    policies = {"wants.test": POLICY}
    async with internet(tmp_path_factory.mktemp("internet"), ZONE, hosts, policies=policies) as opened:
        yield opened


@pytest.fixture
async def one(net: Internet, mongo_uri: str, database_name: str) -> AsyncIterator[Outbound]:
    async with outbound(
        mongo_uri,
        database_name,
        World(),
        relay=None,
        mx=True,
        remote=lambda slots, store: net.remote(slots, records=store.sts_policies),
    ) as running:
        yield running


async def test_a_domain_is_told_what_came_of_tls(net: Internet, one: Outbound) -> None:
    today = datetime.now(UTC).date()
    tomorrow = today + timedelta(days=1)
    for domain in ("wants.test", "wants-not.test", "waits.test"):
        await one.ended(await one.submit(f"a@{domain}", sender=""))
        net.courier.close()
    results = Results(one.store.tls_results)
    for session in net.noted:
        results.note(session)
    await results.flush()
    results.note(Session(Applied("wants.test", Found.STS, tuple(POLICY.splitlines()), ("mx.good.test",)), "gone"))
    posts = Posts()
    reports = TlsReports(one.store, one.queue, net.resolver, posts, HOSTNAME)
    assert await reports.report(today) == {"sent": 0, "unwanted": 0, "put off": 0}, "the day is not over"
    assert await reports.report(tomorrow) == {"sent": 1, "unwanted": 1, "put off": 1}
    assert await reports.report(tomorrow) == {"sent": 0, "unwanted": 0, "put off": 1}, "once"
    assert await reports.report(today + timedelta(days=5)) == {"sent": 0, "unwanted": 0, "put off": 1}
    assert await one.store.tls_results.domains(today + timedelta(days=5), 10) == [], "given up"
    await one.all_ended()
    (mail,) = [mail for mail in net.hosts["mx.good.test"].taken if "reports@sink.test" in mail.recipients]
    check_mail(mail.octets, today)
    ((url, body, kind),) = posts.bodies
    assert (url, kind) == ("https://sink.test/tls", "application/tlsrpt+gzip")
    assert json.loads(gzip.decompress(body)) == read(mail.octets)


def read(octets: bytes) -> Any:
    message = email.message_from_bytes(octets, policy=email.policy.default)
    parts = list(message.iter_parts())
    assert [part.get_content_type() for part in parts] == ["text/plain", "application/tlsrpt+gzip"]
    return json.loads(gzip.decompress(base64.b64decode(parts[1].get_payload())))


def check_mail(octets: bytes, day: date) -> None:
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "tlsrpt"
    assert (message["TLS-Report-Domain"], message["TLS-Report-Submitter"]) == ("wants.test", HOSTNAME)
    assert message["TLS-Required"] == "No"
    report = read(octets)
    assert report["date-range"]["start-datetime"] == f"{day}T00:00:00Z"
    assert report["contact-info"].endswith(f"@{HOSTNAME}")
    (found,) = report["policies"]
    assert found["policy"]["policy-type"] == "sts"
    assert found["policy"]["policy-domain"] == "wants.test"
    assert found["policy"]["mx-host"] == ["mx.good.test", "mx.strange.test"]
    assert found["summary"] == {"total-successful-session-count": 1, "total-failure-session-count": 1}
    (failure,) = found["failure-details"]
    assert failure["result-type"] == "certificate-not-trusted"
    assert failure["receiving-mx-hostname"] == "mx.strange.test"
    assert failure["receiving-ip"].startswith("127.")


async def test_counts_add_up_over_processes(one: Outbound) -> None:
    good = Session(Applied("d.test"), "mx.d.test", "192.0.2.1")
    bad = Session(Applied("d.test"), "mx.d.test", "192.0.2.1", Failure.EXPIRED, "words of one time")
    processes = [Results(one.store.tls_results) for _ in range(3)]
    for each in processes:
        for _ in range(10):
            each.note(good)
            each.note(bad)
    await asyncio.gather(*(each.flush() for each in processes))
    await asyncio.gather(*(each.flush() for each in processes))
    found = await one.store.tls_results.of(datetime.now(UTC).date(), "d.test")
    assert sorted((each.kind.failure is None, each.count) for each in found) == [(False, 30), (True, 30)]


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        (["v=TLSRPTv1;rua=mailto:a@b.test"], ["a@b.test"]),
        (["v=TLSRPTv1; rua=mailto:a@b.test , https://c.test/x?y=z; other=1"], ["a@b.test", "https://c.test/x?y=z"]),
        (["v=spf1", "v=TLSRPTv1; rua=mailto:a@b.test?subject=x"], ["a@b.test"]),
        (["v=TLSRPTv1; rua=mailto:a@b.test", "v=TLSRPTv1; rua=mailto:c@d.test"], []),
        (["v=TLSRPTv2; rua=mailto:a@b.test"], []),
        (["v=TLSRPTv1; rua=http://c.test/"], []),
        (["v=TLSRPTv1; rua=HTTPS://c.test/X"], ["https://c.test/X"]),
        (["v=TLSRPTv1; rua=MAILTO:a@b.test"], ["a@b.test"]),
        (["v=TLSRPTv1; rua=mailto:a@b.test\r\nBcc:x@y.test"], []),
        (["v=TLSRPTv1; rua=mailto:a b@b.test"], []),
        (["v=TLSRPTv1; rua=" + ",".join(["mailto:a@b.test"] * 50)], ["a@b.test"] * 5),
        (["v=TLSRPTv1"], []),
        ([], []),
    ],
)
def test_where_reports_are_wanted(texts: list[str], wanted: list[str]) -> None:
    assert targets(texts) == wanted
