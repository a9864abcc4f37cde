"""DMARC aggregate reports to the domains that ask for them: once for each day that is over (RFC 9990)."""

import hashlib
from collections import defaultdict
from datetime import UTC, date, datetime

from duckmail.errors import Unavailable
from duckmail.mime.reportmail import About
from duckmail.model.dmarcreport import Evaluated
from duckmail.model.mailauth import Published
from duckmail.services.mailauth import aggregate, dmarc
from duckmail.services.mailauth.lookups import Lookups, Resolver
from duckmail.services.queue.dayreports import DayReports
from duckmail.services.queue.queue import Queue
from storage.store import Store

DNS_SECONDS = 20.0  # for one domain


class DmarcReports(DayReports):
    """`hostname`: who reports."""

    def __init__(self, store: Store, queue: Queue, dns: Resolver, hostname: str) -> None:
        super().__init__("dmarc-reports", store.dmarc_results, store, queue, hostname)
        self._results = store.dmarc_results
        self._dns = dns

    async def _targets(self, domain: str) -> list[str]:
        """Raises: Unavailable."""
        lookups = Lookups(self._dns, DNS_SECONDS)
        record = dmarc.read(await lookups.texts(f"_dmarc.{domain}"))
        named = aggregate.targets(record.reports) if record is not None else []
        return [each for each in named if await _agrees(lookups, domain, each.rpartition("@")[2].lower())]

    async def _send(self, day: date, domain: str) -> bool:
        wanted = await self._targets(domain)
        if not wanted:
            return False
        # RFC 9990 §3.1.1.5: one for each policy that stood there that day.
        by_policy: defaultdict[Published, list[tuple[Evaluated, int]]] = defaultdict(list)
        for each in await self._results.of(day, domain):
            by_policy[each.kind.published].append((each.kind, each.count))
        for published, counted in by_policy.items():
            named = hashlib.sha256(f"{self._hostname} {day} {published!r}".encode()).hexdigest()[:32]
            about = About(self._hostname, domain, self._contact, named, day)
            octets = aggregate.packed(about, published, counted)
            for to in wanted:
                raw = aggregate.message(about, to, octets, datetime.now(UTC))
                await self._mail(f"dmarc {named}", to, raw)
        return True


async def _agrees(lookups: Lookups, domain: str, host: str) -> bool:
    """RFC 9990 §4: whether who is to get reports about somebody else's domain wants them. Raises: Unavailable."""
    owns = [dmarc.organizational(each, await dmarc.walk(lookups, each)) for each in (domain, host)]
    if owns[0] == owns[1]:
        return True
    try:
        texts = await lookups.texts(f"{domain}._report._dmarc.{host}")
    except Unavailable as error:
        raise Unavailable("Nobody can say whether reports may be sent there", host=host) from error
    return any(dmarc.is_record(text) for text in texts)
