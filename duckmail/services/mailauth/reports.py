"""DMARC aggregate reports to the domains that ask for them: once for each day that is over (RFC 9990)."""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from duckmail.errors import DuckmailError, Unavailable
from duckmail.model.dmarcreport import Evaluated
from duckmail.model.mailauth import Published
from duckmail.runtime.log import event
from duckmail.services.mailauth import aggregate, dmarc
from duckmail.services.mailauth.aggregate import About
from duckmail.services.mailauth.lookups import Lookups, Resolver
from duckmail.services.queue import reportmail
from duckmail.services.queue.queue import Queue
from duckmail.services.tasks.runner import Jobs, Run
from storage.store import Store

KIND = "dmarc-reports"
LOOK_EVERY = timedelta(hours=1)
MOST_AT_ONCE = 500  # domains in one look
TRIES = timedelta(days=3)  # how long a report that cannot be handed over is tried
DNS_SECONDS = 20.0  # for one domain

_logger = logging.getLogger("duckmail.mailauth")


class DmarcReports:
    """`hostname`: who reports."""

    def __init__(self, store: Store, queue: Queue, dns: Resolver, hostname: str) -> None:
        self._store = store
        self._results = store.dmarc_results
        self._queue = queue
        self._dns = dns
        self._hostname = hostname

    def jobs(self) -> Jobs:
        return Jobs({KIND: self.look}, {KIND: LOOK_EVERY})

    async def look(self, _: Run) -> Mapping[str, object]:
        """Raises: Unavailable."""
        return await self.report(datetime.now(UTC).date())

    async def report(self, today: date) -> Mapping[str, int]:
        """Sends what is known of the days before `today`; of how many domains and days it was sent, unwanted, put off.

        A report that is made again, after a crash, has the same id, and is not queued twice. Raises: Unavailable.
        """
        done = {"sent": 0, "unwanted": 0, "put off": 0}
        for day, domain in await self._results.domains(today, MOST_AT_ONCE):
            try:
                wanted = await self._targets(domain)
                if wanted:
                    await self._send(day, domain, wanted)
            except DuckmailError as error:
                event(_logger, logging.INFO, "a DMARC report waits", domain=domain, fields=error.fields)
                done["put off"] += 1
                if today - day < TRIES:
                    continue
            else:
                done["sent" if wanted else "unwanted"] += 1
            await self._results.remove(day, domain)
        return done

    async def _targets(self, domain: str) -> list[str]:
        """Raises: Unavailable."""
        lookups = Lookups(self._dns, DNS_SECONDS)
        record = dmarc.read(await lookups.texts(f"_dmarc.{domain}"))
        named = aggregate.targets(record.reports) if record is not None else []
        return [each for each in named if await _agrees(lookups, domain, each.rpartition("@")[2].lower())]

    async def _send(self, day: date, domain: str, wanted: list[str]) -> None:
        """RFC 9990 §3.1.1.5: one for each policy that stood there that day. Raises: Unavailable."""
        by_policy: defaultdict[Published, list[tuple[Evaluated, int]]] = defaultdict(list)
        for each in await self._results.of(day, domain):
            by_policy[each.kind.published].append((each.kind, each.count))
        for published, counted in by_policy.items():
            named = hashlib.sha256(f"{self._hostname} {day} {published!r}".encode()).hexdigest()[:32]
            about = About(self._hostname, domain, f"dmarc-reports@{self._hostname}", named, day)
            octets = aggregate.packed(about, published, counted)
            for to in wanted:
                raw = aggregate.message(about, to, octets, datetime.now(UTC))
                await reportmail.post(self._store, self._queue, f"dmarc {named}", to, raw)


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
