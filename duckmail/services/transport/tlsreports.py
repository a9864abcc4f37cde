"""Reports on TLS to the domains that ask for them: once for each day that is over, by mail or by HTTPS (RFC 8460)."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Protocol

from duckmail.errors import Unavailable
from duckmail.mime import tlsreport
from duckmail.mime.reportmail import About
from duckmail.model.transport import Applied, Found, Session
from duckmail.services.queue.dayreports import DayReports
from duckmail.services.queue.queue import Queue
from storage.daycounts import Counted
from storage.store import Store


class Answer(Protocol):
    @property
    def status(self) -> int: ...


class Http(Protocol):
    """What is needed of `duckmail.clients.http.Http`."""

    async def post(self, url: str, body: bytes, size: int, headers: Mapping[str, str], /) -> Answer: ...


class Texts(Protocol):
    """What is needed of `duckmail.clients.dns.Dns`."""

    async def records(self, name: str, kind: str, /) -> list[str]: ...


class TlsReports(DayReports):
    """`hostname`: who reports."""

    def __init__(self, store: Store, queue: Queue, dns: Texts, http: Http, hostname: str) -> None:
        super().__init__("tls-reports", store.tls_results, store, queue, hostname)
        self._results = store.tls_results
        self._dns = dns
        self._http = http

    async def _send(self, day: date, domain: str) -> bool:
        wanted = tlsreport.targets(await self._dns.records(f"_smtp._tls.{domain}", "TXT"))
        if not wanted:
            return False
        identifier = hashlib.sha256(f"{self._hostname} {domain} {day}".encode()).hexdigest()[:32]
        about = About(self._hostname, domain, self._contact, identifier, day)
        octets = tlsreport.packed(about, policies(await self._results.of(day, domain)))
        for target in wanted:
            if target.startswith("https:"):
                headers = {"Content-Type": "application/tlsrpt+gzip"}
                answer = await self._http.post(target, octets, len(octets), headers)
                if not 200 <= answer.status < 300:
                    raise Unavailable("The report was not taken", status=answer.status)
            else:
                raw = tlsreport.message(about, target, octets, datetime.now(UTC))
                await self._mail(f"tlsrpt {identifier}", target, raw)
        return True


def policies(counted: Sequence[Counted[Session]]) -> list[Mapping[str, object]]:
    """RFC 8460 §4.4: sessions by the policy that they were under."""
    by_policy: defaultdict[Applied, list[Counted[Session]]] = defaultdict(list)
    for each in counted:
        by_policy[each.kind.applied].append(each)
    return [_policy(applied, found) for applied, found in by_policy.items()]


def _policy(applied: Applied, counted: Sequence[Counted[Session]]) -> Mapping[str, object]:
    policy: dict[str, object] = {"policy-type": applied.found.value, "policy-domain": applied.domain}
    if applied.found is not Found.NONE:
        policy["policy-string"] = list(applied.strings)
    if applied.mx:
        policy["mx-host"] = list(applied.mx)
    failed = [each for each in counted if each.kind.failure is not None]
    report: dict[str, object] = {
        "policy": policy,
        "summary": {
            "total-successful-session-count": sum(each.count for each in counted if each.kind.failure is None),
            "total-failure-session-count": sum(each.count for each in failed),
        },
    }
    if failed:
        report["failure-details"] = [_details(each) for each in failed]
    return report


def _details(each: Counted[Session]) -> Mapping[str, object]:
    session = each.kind
    details: dict[str, object] = {"failed-session-count": each.count}
    if session.failure is not None:
        details["result-type"] = session.failure.value
    if session.host:
        details["receiving-mx-hostname"] = session.host
    if session.address:
        details["receiving-ip"] = session.address
    return details
