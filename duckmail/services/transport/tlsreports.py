"""Reports on TLS to the domains that ask for them: once for each day that is over, by mail or by HTTPS (RFC 8460)."""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

from duckmail.errors import DuckmailError, Unavailable
from duckmail.mime import tlsreport
from duckmail.mime.tlsreport import About
from duckmail.model.transport import Applied, Found, Session
from duckmail.runtime.log import event
from duckmail.services.queue import reportmail
from duckmail.services.queue.queue import Queue
from duckmail.services.tasks.runner import Jobs, Run
from storage.daycounts import Counted
from storage.store import Store

KIND = "tls-reports"
LOOK_EVERY = timedelta(hours=1)
MOST_AT_ONCE = 500  # domains in one look
TRIES = timedelta(days=3)  # how long a report that cannot be handed over is tried

_logger = logging.getLogger("duckmail.transport")


class Answer(Protocol):
    @property
    def status(self) -> int: ...


class Http(Protocol):
    """What is needed of `duckmail.clients.http.Http`."""

    async def post(self, url: str, body: bytes, size: int, headers: Mapping[str, str], /) -> Answer: ...


class Texts(Protocol):
    """What is needed of `duckmail.clients.dns.Dns`."""

    async def records(self, name: str, kind: str, /) -> list[str]: ...


class TlsReports:
    """`hostname`: who reports."""

    def __init__(self, store: Store, queue: Queue, dns: Texts, http: Http, hostname: str) -> None:
        self._store = store
        self._results = store.tls_results
        self._queue = queue
        self._dns = dns
        self._http = http
        self._hostname = hostname

    def jobs(self) -> Jobs:
        return Jobs({KIND: self.look}, {KIND: LOOK_EVERY})

    async def look(self, _: Run) -> Mapping[str, object]:
        """Raises: Unavailable."""
        return await self.report(datetime.now(UTC).date())

    async def report(self, today: date) -> Mapping[str, int]:
        """Sends what is known of the days before `today`; how many were sent, unwanted, and put off.

        A report that is made again, after a crash, has the same id: mail is not taken twice, and who gets the other
        kind can tell. Raises: Unavailable.
        """
        done = {"sent": 0, "unwanted": 0, "put off": 0}
        for day, domain in await self._results.domains(today, MOST_AT_ONCE):
            try:
                wanted = tlsreport.targets(await self._dns.records(f"_smtp._tls.{domain}", "TXT"))
                sent = bool(wanted) and await self._send(day, domain, wanted)
            except DuckmailError as error:
                event(_logger, logging.INFO, "a TLS report waits", domain=domain, fields=error.fields)
                done["put off"] += 1
                if today - day < TRIES:
                    continue
            else:
                done["sent" if sent else "unwanted"] += 1
            await self._results.remove(day, domain)
        return done

    async def _send(self, day: date, domain: str, wanted: Sequence[str]) -> bool:
        """Raises: Unavailable: at least one did not get it."""
        identifier = hashlib.sha256(f"{self._hostname} {domain} {day}".encode()).hexdigest()[:32]
        about = About(self._hostname, domain, f"tls-reports@{self._hostname}", identifier, day)
        octets = tlsreport.packed(about, policies(await self._results.of(day, domain)))
        for target in wanted:
            if target.startswith("https:"):
                headers = {"Content-Type": "application/tlsrpt+gzip"}
                answer = await self._http.post(target, octets, len(octets), headers)
                if not 200 <= answer.status < 300:
                    raise Unavailable("The report was not taken", status=answer.status)
            else:
                await self._mail(about, target, octets)
        return True

    async def _mail(self, about: About, to: str, octets: bytes) -> None:
        raw = tlsreport.message(about, to, octets, datetime.now(UTC))
        await reportmail.post(self._store, self._queue, f"tlsrpt {about.id}", to, raw)


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
