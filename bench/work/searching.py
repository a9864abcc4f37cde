"""SEARCH at size: through 10,000 and 100,000 mails of `bench.mixed`, warm, one item for each kind of question."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

from bench import mixed
from bench.measure import cpu
from bench.mixed import Mixed
from bench.servers.base import Account
from bench.work.base import Outcome, Place, Work, deliver_all

FLAG, STORED, OTHER, TEXT = "flag", "stored", "other", "text"
LIMITS = {
    (FLAG, False): 200.0,
    (FLAG, True): 200.0,
    (STORED, False): 200.0,
    (STORED, True): 200.0,
    (OTHER, False): 1500.0,
    (OTHER, True): 1500.0,
    (TEXT, False): 50.0,
    (TEXT, True): 500.0,
}
"""Milliseconds that are promised, by kind and whether the mailbox is the large one."""
APPENDED = 250  # messages in one command
FLAGGED = 20  # messages
QUIET_CPU = 0.1  # seconds of processor time in one second of a server that has nothing to do
QUIET_SECONDS = 5  # of them one after the other
INDEXED = 1000  # messages from which on one waits for an index
QUIET_WAIT = 1800  # seconds at most until what a search has begun (an index) is done


@dataclass(frozen=True, slots=True)
class Question:
    """`criteria`: as in SEARCH; text beyond ASCII makes it a search with CHARSET UTF-8."""

    name: str
    kind: str
    criteria: str


QUESTIONS = (
    Question("flag", FLAG, "UNDELETED FLAGGED"),
    Question("flag-or", FLAG, "OR SEEN NOT KEYWORD $Junk"),
    Question("from", STORED, "FROM .org"),
    Question("from-rare", STORED, 'FROM "00000017"'),
    Question("subject", STORED, "SUBJECT quarterly"),
    Question("subject-two", STORED, "SUBJECT ba"),
    Question("since", STORED, "SINCE 1-Jan-2022"),
    Question("sent-from", STORED, "SENTSINCE 1-Jun-2021 SENTBEFORE 1-Jan-2023 FROM 3.example"),
    Question("message-id", STORED, "HEADER Message-ID 00000042."),
    Question("mailer", OTHER, "HEADER X-Mailer thunderbird"),
    Question("received", OTHER, "HEADER Received mx17.example"),
    Question("references", OTHER, 'HEADER References ""'),
    Question("rare", TEXT, f"TEXT {mixed.RARE}"),
    Question("usual", TEXT, f"TEXT {mixed.USUAL}"),
    Question("frequent", TEXT, f"TEXT {mixed.FREQUENT}"),
    Question("nowhere", TEXT, f"TEXT {mixed.NOWHERE}"),
    Question("inside", TEXT, f"TEXT {mixed.INSIDE}"),
    Question("two", TEXT, "BODY qu"),
    Question("two-nowhere", TEXT, "BODY xq"),
    Question("foreign", TEXT, f"BODY {mixed.FOREIGN}"),
    Question("phrase", TEXT, f'BODY "{mixed.USUAL} 12"'),
    Question("and", TEXT, f"TEXT {mixed.FREQUENT} TEXT {mixed.USUAL}"),
    Question("or", TEXT, f"OR TEXT {mixed.USUAL} SUBJECT quarterly"),
    Question("not", TEXT, f"NOT TEXT {mixed.FREQUENT}"),
)


async def searched(place: Place, large: bool) -> Account:
    """The account whose INBOX is searched, filled at the first call, its texts indexed where the server does that."""
    account = Account("searched100k" if large else "searched10k")
    if account in place.filled:
        return account
    await place.server.add_accounts([account])
    count = place.sizes.searched_large if large else place.sizes.searched
    client = await place.login(account)
    mails = islice(iter(Mixed(place.seed), b""), count)
    if client.takes_many:
        while some := list(islice(mails, APPENDED)):
            await client.append_all("INBOX", some)
    else:
        await deliver_all(place.server, mails, [account], place.sizes.connections)
    await client.command(b"SELECT INBOX")
    for number in range(1, count, max(1, count // FLAGGED)):
        await client.command(b"STORE %d +FLAGS.SILENT (\\Seen \\Flagged)" % number)
    await client.command(f"SEARCH TEXT {mixed.NOWHERE}".encode())
    if count >= INDEXED:
        await quiet(place)
    client.close()
    place.filled.add(account)
    return account


async def quiet(place: Place) -> None:
    """Until the server does nothing any more."""
    seconds = 0
    async with asyncio.timeout(QUIET_WAIT):
        while seconds < QUIET_SECONDS:
            before = cpu(place.server.pids)
            await asyncio.sleep(1)
            spent = cpu(place.server.pids) - before
            seconds = seconds + 1 if spent.server + spent.database < QUIET_CPU else 0


class _Searching(Work):
    question: ClassVar[Question]
    large: ClassVar[bool]

    async def prepare(self) -> None:
        self._client = await self.place.login(await searched(self.place, self.large))
        await self._client.command(b"SELECT INBOX")
        await self._search()  # warm

    async def run(self) -> Outcome:
        latencies = []
        for _ in range(self.sizes.searches):
            begun = time.perf_counter()
            await self._search()
            latencies.append(time.perf_counter() - begun)
        return Outcome((self.sizes.searched_large if self.large else self.sizes.searched) * len(latencies), latencies)

    async def finish(self) -> None:
        self._client.close()

    async def _search(self) -> None:
        criteria = self.question.criteria
        if criteria.isascii():
            await self._client.command(f"SEARCH {criteria}".encode())
        else:
            key, _, value = criteria.partition(" ")
            await self._client.literal(f"SEARCH CHARSET UTF-8 {key} ".encode(), value.encode())


def _works() -> Iterable[type[Work]]:
    for size in (False, True):
        for one in QUESTIONS:

            class Searching(_Searching):
                name = f"search-{'100k' if size else '10k'}-{one.name}"
                title = f"SEARCH {one.criteria}, {'100,000' if size else '10,000'}"
                question = one
                large = size

            yield Searching


SEARCHES: tuple[type[Work], ...] = tuple(_works())
GOALS: tuple[tuple[str, str, float], ...] = tuple(
    (f"search-{'100k' if large else '10k'}-{one.name}", f"SEARCH {one.criteria}", LIMITS[one.kind, large])
    for large in (False, True)
    for one in QUESTIONS
)
"""Work, what it asks, and the milliseconds it may take."""
