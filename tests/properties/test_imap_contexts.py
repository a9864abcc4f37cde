"""Search contexts (RFC 5267) against a client that keeps its results by ADDTO and REMOVEFROM alone."""

import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from duckmail.runtime.tasks import Tasks
from protocols.imap.settings import ImapSettings
from tests.support.imap import ImapHouse, open_imap
from tests.support.memory import MemoryClient, MemoryConnection

CHANGE = re.compile(rb'\* ESEARCH \(TAG "(\w+)"\)( UID)?((?: (?:ADDTO|REMOVEFROM) \([^)]*\))+)\r\n')
ITEM = re.compile(rb"(ADDTO|REMOVEFROM) \(([^)]*)\)")
SEARCHES = {
    "c1": (b"UID SEARCH", b"UNFLAGGED"),
    "c2": (b"SEARCH", b"OR FLAGGED SUBJECT b"),
    "c3": (b"UID SORT", b"(SUBJECT REVERSE ARRIVAL) UTF-8 UNFLAGGED"),
    "c4": (b"SORT", b"(REVERSE SUBJECT) UTF-8 UNDELETED"),
}


class Client:
    """`known`: UIDs by number; a negative number of its own stands for one that was not fetched yet. `results`: of each
    context, the same, in its order."""

    def __init__(self, client: MemoryClient) -> None:
        self.client = client
        self.count = self.unknown = 0
        self.known: list[int] = []
        self.results: dict[str, list[int]] = {}

    async def command(self, text: bytes) -> list[bytes]:
        self.count += 1
        return await self.tagged(b"t%d" % self.count, text)

    async def tagged(self, tag: bytes, text: bytes) -> list[bytes]:
        await self.client.send(tag + b" " + text + b"\r\n")
        lines = []
        while True:
            line = await self.client.line(30)
            lines.append(line)
            self.read(line)
            if line.startswith(tag + b" "):
                assert line.startswith((tag + b" OK", tag + b" NO [EXPUNGEISSUED]")), line
                return lines

    def read(self, line: bytes) -> None:
        if found := re.fullmatch(rb"\* (\d+) EXISTS\r\n", line):
            while len(self.known) < int(found[1]):
                self.unknown -= 1
                self.known.append(self.unknown)
        elif found := re.fullmatch(rb"\* (\d+) EXPUNGE\r\n", line):
            del self.known[int(found[1]) - 1]
        elif found := re.match(rb"\* (\d+) FETCH \(UID (\d+)", line):
            before, uid = self.known[int(found[1]) - 1], int(found[2])
            self.known[int(found[1]) - 1] = uid
            for results in self.results.values():
                results[:] = [uid if one == before else one for one in results]
        elif found := CHANGE.fullmatch(line):
            for name, pairs in ITEM.findall(found[3]):
                self.change(found[1].decode(), name == b"ADDTO", pairs.decode().split(" "), uid=bool(found[2]))

    def change(self, tag: str, add: bool, pairs: list[str], *, uid: bool) -> None:
        results = self.results[tag]
        for position, numbers in zip(map(int, pairs[::2]), pairs[1::2], strict=True):
            uids = [one if uid else self.known[one - 1] for one in expand(numbers)]
            if position == 0:
                results[:] = sorted([*results, *uids]) if add else [one for one in results if one not in uids]
            elif add:
                results[position - 1 : position - 1] = uids
            else:
                assert results[position - 1 : position - 1 + len(uids)] == uids
                del results[position - 1 : position - 1 + len(uids)]

    async def learn_uids(self) -> None:
        await self.command(b"FETCH 1:* (UID)" if self.known else b"NOOP")
        for tag in ("c1", "c2"):
            self.results[tag].sort()


def expand(numbers: str) -> list[int]:
    found: list[int] = []
    for part in numbers.split(","):
        first, _, last = part.partition(":")
        found += range(int(first), int(last or first) + 1)
    return found


@asynccontextmanager
async def connected(house: ImapHouse) -> AsyncIterator[Client]:
    connection = MemoryConnection()
    client = Client(MemoryClient(connection))
    async with Tasks("server") as tasks:
        tasks.start(house.serve(ImapSettings(plaintext_login=True))(connection), "session")
        await client.client.line(30)
        await client.command(b"LOGIN anna secret")
        yield client
        await client.command(b"LOGOUT")


def step(choose: random.Random, count: int) -> bytes:
    """Something that another session does to a mailbox of so many messages."""
    one = choose.randint(1, max(1, count))
    few = f"{one}:{min(count, one + choose.randint(0, 2))}".encode()
    kind = choose.choice(("append", "append", "store", "store", "store", "expunge")) if count else "append"
    if kind == "append":
        text = b"Subject: %b\r\n\r\n" % choose.choice((b"a", b"b", b"c", b"ab"))
        flags = choose.choice((b"", b"(\\Flagged) "))
        return b"APPEND INBOX %b{%d+}\r\n%b" % (flags, len(text), text)
    if kind == "store":
        return b"STORE %b %bFLAGS (%b)" % (
            few,
            choose.choice((b"+", b"-")),
            choose.choice((b"\\Flagged", b"\\Deleted")),
        )
    return b"EXPUNGE"


@pytest.mark.parametrize("seed", range(3))
async def test_results_follow_the_mailbox(mongo_uri: str, database_name: str, redis_url: str, seed: int) -> None:
    choose = random.Random(seed)
    async with (
        open_imap(mongo_uri, database_name, redis_url) as house,
        connected(house) as ours,
        connected(house) as other,
    ):
        await other.command(b"SELECT INBOX")
        for _ in range(5):
            await other.command(step(choose, 0))
        await ours.command(b"SELECT INBOX")
        await ours.command(b"FETCH 1:* (UID)")
        for tag, (verb, criteria) in SEARCHES.items():
            found = await ours.tagged(tag.encode(), b"%b RETURN (UPDATE ALL) %b" % (verb, criteria))
            shown = re.search(rb" ALL ([\d:,]+)", found[0])
            numbers = expand(shown[1].decode()) if shown else []
            ours.results[tag] = numbers if verb.startswith(b"UID") else [ours.known[one - 1] for one in numbers]
        for _ in range(40):
            actor = choose.choice((other, other, ours))
            await actor.command(step(choose, len(actor.known)))
            if choose.random() < 0.4:
                await other.command(b"NOOP")
                await ours.command(b"NOOP")
                await ours.learn_uids()
                await agree(ours)


async def agree(client: Client) -> None:
    for tag, (verb, criteria) in SEARCHES.items():
        by_uid = b"UID " + verb.removeprefix(b"UID ")
        lines = await client.command(b"%b %b" % (by_uid, criteria))
        answer = next(line for line in lines if line.startswith((b"* SEARCH", b"* SORT")))
        assert client.results[tag] == [int(one) for one in answer.split()[2:]], tag
