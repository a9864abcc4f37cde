"""The MTA-STS policies of other domains: asked for, kept until their time is over, and fetched anew before that."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from duckmail.errors import DuckmailError, Unavailable
from duckmail.model.transport import Failure
from duckmail.runtime.log import event
from duckmail.services.tasks.runner import Jobs, Run
from duckmail.services.transport import sts
from duckmail.services.transport.sts import Malformed, Policy
from storage.stspolicies import StsRecord

KNOWN_SECONDS = 300.0  # how long what was found, or not found, is not asked for again by this process
MOST_KNOWN = 5_000  # domains
# RFC 8461 §3.3: no more than once a day; at half its time where that is sooner, and again soon where it failed.
REFRESH = timedelta(days=1)
AGAIN = timedelta(hours=1)
KIND = "sts-policies"  # of the task that does it
LOOK_EVERY = timedelta(minutes=15)
MOST_REFRESHED = 200  # in one run
PATH = "/.well-known/mta-sts.txt"

_logger = logging.getLogger("duckmail.transport")


class Answer(Protocol):
    """What is needed of `duckmail.clients.http.Reply`."""

    @property
    def status(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def body(self) -> bytes: ...


class Http(Protocol):
    """What is needed of `duckmail.clients.http.Http`."""

    async def get(self, url: str, /, *, largest: int, redirects: int) -> Answer: ...


class Texts(Protocol):
    """What is needed of `duckmail.clients.dns.Dns`."""

    async def records(self, name: str, kind: str, /) -> list[str]: ...


class Records(Protocol):
    """What is needed of `storage.stspolicies.StsRecords`."""

    async def get(self, domain: str, /) -> StsRecord | None: ...
    async def put(self, record: StsRecord, /) -> None: ...
    async def stale(self, most: int, /) -> list[StsRecord]: ...


@dataclass(frozen=True, slots=True)
class Known:
    """`policy`: None for none. `failure`: why there is none although one is announced."""

    policy: Policy | None = None
    failure: Failure | None = None


class NotFetched(Exception):
    """`failure`: in the words of RFC 8460; the text says more."""

    def __init__(self, failure: Failure, text: str) -> None:
        self.failure = failure
        super().__init__(text)


async def fetch(http: Http, domain: str) -> tuple[Policy, bytes]:
    """The policy that a domain has, and as it is written. Raises: NotFetched."""
    try:
        answer = await http.get(f"https://mta-sts.{domain}{PATH}", largest=sts.LARGEST, redirects=0)
    except Unavailable as error:
        kind = str(error.fields.get("error", ""))
        if "Certificate" in kind or "SSL" in kind:
            raise NotFetched(Failure.STS_WEBPKI, "the host's certificate is not trusted") from None
        raise NotFetched(Failure.STS_FETCH, "the host does not answer") from None
    # RFC 8461 §3.3: no redirect is followed; the type keeps out files that somebody else may have put there.
    if answer.status != 200:
        raise NotFetched(Failure.STS_FETCH, f"the answer is {answer.status}")
    if answer.kind != "text/plain":
        raise NotFetched(Failure.STS_FETCH, "it is not text/plain")
    try:
        return sts.parse(answer.body), answer.body
    except Malformed as error:
        raise NotFetched(Failure.STS_INVALID, f"it is no policy: {error}") from None


class Policies:
    def __init__(self, records: Records, dns: Texts, http: Http) -> None:
        self._records = records
        self._dns = dns
        self._http = http
        self._known: OrderedDict[str, tuple[float, Known]] = OrderedDict()
        self._asking: dict[str, asyncio.Lock] = {}

    async def of(self, domain: str) -> Known:
        """The policy of a domain, in its ASCII form. Raises: Unavailable: it cannot be known whether there is one."""
        found = self._remembered(domain)
        if found is not None:
            return found
        lock = self._asking.setdefault(domain, asyncio.Lock())
        try:
            async with lock:
                found = self._remembered(domain)
                if found is None:
                    found = await self._look_up(domain)
                    self._remember(domain, found)
        finally:
            if not lock.locked():
                self._asking.pop(domain, None)
        return found

    def _remembered(self, domain: str) -> Known | None:
        until, known = self._known.get(domain, (0.0, None))
        return known if until > time.monotonic() else None

    def _remember(self, domain: str, known: Known) -> None:
        self._known[domain] = (time.monotonic() + KNOWN_SECONDS, known)
        self._known.move_to_end(domain)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    async def _look_up(self, domain: str) -> Known:
        kept = await self._records.get(domain)
        try:
            identifier = sts.record_id(await self._dns.records(f"_mta-sts.{domain}", "TXT"))
        except DuckmailError:
            identifier = ""
        # RFC 8461 §3.3: without a record what was learned still holds; else a new id tells of a new policy.
        if kept is not None and identifier in ("", kept.id):
            return Known(sts.parse(kept.body))
        if not identifier:
            return Known()
        try:
            return Known(await self._fetch(domain, identifier))
        except NotFetched as error:
            event(_logger, logging.INFO, "no policy of MTA-STS", domain=domain, reason=error.failure.value)
            return Known(sts.parse(kept.body) if kept is not None else None, error.failure)

    async def _fetch(self, domain: str, identifier: str) -> Policy:
        """Raises: NotFetched; Unavailable: of the database."""
        policy, body = await fetch(self._http, domain)
        now = datetime.now(UTC)
        age = timedelta(seconds=policy.max_age)
        await self._records.put(StsRecord(domain, identifier, body, now + age, now + min(REFRESH, age / 2)))
        return policy

    def jobs(self) -> Jobs:
        return Jobs({KIND: self.refresh}, {KIND: LOOK_EVERY})

    async def refresh(self, _: Run) -> Mapping[str, object]:
        return await self.refreshed()

    async def refreshed(self) -> Mapping[str, int]:
        """Fetches anew those whose time is about to come: else who can block the domain for long enough disarms it.

        How many, and how many could not be. Raises: Unavailable.
        """
        fetched = failed = 0
        for kept in await self._records.stale(MOST_REFRESHED):
            try:
                identifier = sts.record_id(await self._dns.records(f"_mta-sts.{kept.domain}", "TXT"))
                policy = await self._fetch(kept.domain, identifier or kept.id)
            except (NotFetched, DuckmailError):
                failed += 1
                later = datetime.now(UTC) + AGAIN
                await self._records.put(StsRecord(kept.domain, kept.id, kept.body, kept.expires, later))
            else:
                fetched += 1
                self._remember(kept.domain, Known(policy))
        return {"fetched": fetched, "failed": failed}
