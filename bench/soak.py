"""A long mixed load on one duckmail: `python -m bench.soak --seed 1 --count 10000 --json FILE`.

Deliveries, clients that read, append, flag, search, copy, move, expunge and wait in IDLE, all at once, `--count`
operations in all. Meanwhile memory is sampled and a probe asks for NOOP. At the end `duckmail fsck` compares all.
Exit status 1 when an operation failed, a difference was found, or memory kept growing.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.clients.imap import ImapClient
from bench.clients.lmtp import LmtpClient
from bench.measure import memory
from bench.runner import percentile
from bench.servers.base import Account, new_folder, remove_folder
from bench.servers.duckmail import Duckmail
from bench.work.base import Place, Sizes
from duckmail.runtime import loop

READERS = 8
DELIVERERS = 4
PROBE_SECONDS = 0.25
SAMPLE_SECONDS = 1.0
RECONNECT = 0.02  # share of a reader's operations that are a new connection
KEPT = 200  # messages of one mailbox; the oldest go when there are more
SLICE = 10  # messages that one operation is about
FOLDER = "work"
# RFC 5530 §3: the answer to a FETCH of what another client has expunged meanwhile.
EXPUNGED = "[EXPUNGEISSUED]"
# Growth of the last third's median over the middle third's. The first third loads code, pools and caches.
MAX_GROWTH = 32 << 20
ENOUGH_SAMPLES = 30  # fewer say nothing about growth


@dataclass(slots=True)
class Record:
    """What happened. `latencies`: seconds of each operation, by its name; `memory`: octets, one sample a second."""

    latencies: dict[str, list[float]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    databases: list[int] = field(default_factory=list)
    fsck: str = ""
    fsck_status: int = 0

    async def timed(self, name: str, work: Awaitable[object]) -> None:
        begun = time.perf_counter()
        await work
        self.latencies.setdefault(name, []).append(time.perf_counter() - begun)

    @property
    def growth(self) -> int:
        """Octets; 0 while there are too few samples."""
        if len(self.memory) < ENOUGH_SAMPLES:
            return 0
        third = len(self.memory) // 3
        return int(statistics.median(self.memory[-third:]) - statistics.median(self.memory[third : 2 * third]))

    @property
    def broken(self) -> list[str]:
        """Why the run failed; empty when it did not."""
        found = [f"{len(self.errors)} operations failed, the first: {self.errors[0]}"] if self.errors else []
        if self.fsck_status:
            found.append(f"fsck: {self.fsck}")
        if self.growth > MAX_GROWTH:
            found.append(f"memory grew by {self.growth >> 20} MiB from the middle third to the last")
        return found


class Reader:
    """One mail client of an account, doing this and that."""

    def __init__(self, soak: "Soak", account: Account, seed: int) -> None:
        self._soak = soak
        self._account = account
        self._random = random.Random(seed)
        self._client: ImapClient | None = None
        self._table: tuple[tuple[str, int, Callable[[ImapClient], Awaitable[object]]], ...] = (
            ("noop", 10, lambda client: client.command(b"NOOP")),
            ("fetch flags", 10, lambda client: client.command(b"FETCH 1:* (FLAGS)")),
            ("fetch structure", 8, lambda client: client.command(b"UID FETCH 1:* (ENVELOPE BODYSTRUCTURE)")),
            ("fetch body", 15, lambda client: client.command(b"FETCH %b (BODY[])" % self._some())),
            ("store", 15, self._store),
            ("search flag", 5, lambda client: client.command(b"SEARCH UNSEEN")),
            ("search text", 2, lambda client: client.command(b'SEARCH TEXT "meeting"')),
            ("append", 10, lambda client: client.append("INBOX", soak.place.mails.small())),
            ("copy", 5, lambda client: client.command(b"COPY %b %b" % (self._some(), FOLDER.encode()))),
            ("move", 5, lambda client: client.command(b"MOVE %b %b" % (self._some(), FOLDER.encode()))),
            ("expunge", 5, self._expunge),
            ("status", 5, lambda client: client.command(f"STATUS {FOLDER} (MESSAGES UNSEEN)".encode())),
            ("empty folder", 1, self._empty_folder),
            ("idle", 4, self._idle),
        )

    async def run(self) -> None:
        names = [row[0] for row in self._table]
        weights = [row[1] for row in self._table]
        work = {row[0]: row[2] for row in self._table}
        while self._soak.take():
            name = self._random.choices(names, weights)[0]
            try:
                if self._client is None or self._random.random() < RECONNECT:
                    await self._soak.record.timed("login and select", self._connect())
                assert self._client is not None
                await self._soak.record.timed(name, work[name](self._client))
            except Exception as error:
                if EXPUNGED not in str(error):
                    self._soak.record.errors.append(f"{name}: {type(error).__name__}: {error}"[:300])
                    self.close()
        self.close()

    async def _connect(self) -> None:
        self.close()
        self._client = await self._soak.place.login(self._account, tls=self._random.random() < 0.5)
        await self._client.command(b"SELECT INBOX")

    def _some(self) -> bytes:
        """A sequence set near the end of the mailbox. `*` is there even when the mailbox is empty for a moment."""
        first = self._random.randint(1, SLICE)
        return b"%d:*" % (KEPT - first) if self._random.random() < 0.5 else b"*"

    async def _store(self, client: ImapClient) -> None:
        flag = self._random.choice((rb"\Seen", rb"\Flagged", rb"\Answered", b"$Label1"))
        sign = self._random.choice((b"+", b"-"))
        await client.command(b"UID STORE 1:* %bFLAGS.SILENT (%b)" % (sign, flag))

    async def _expunge(self, client: ImapClient) -> None:
        """Leaves at most KEPT messages, the newest."""
        answer = await client.command(b"UID SEARCH ALL")
        uids = [int(word) for word in answer.split(b"\r\n", 1)[0].split()[2:]] if b"* SEARCH " in answer else []
        if len(uids) > KEPT:
            await client.command(rb"UID STORE 1:%d +FLAGS.SILENT (\Deleted)" % uids[-KEPT])
        await client.command(b"EXPUNGE")

    async def _empty_folder(self, client: ImapClient) -> None:
        await client.command(f"SELECT {FOLDER}".encode())
        await client.command(rb"UID STORE 1:* +FLAGS.SILENT (\Deleted)")
        await client.command(b"CLOSE")
        await client.command(b"SELECT INBOX")

    async def _idle(self, client: ImapClient) -> None:
        tag = await client.idle()
        await asyncio.sleep(self._random.uniform(0, 0.2))
        await client.done(tag)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


class Soak:
    def __init__(self, place: Place, count: int, seed: int) -> None:
        self.place = place
        self.record = Record()
        self._left = count
        self._seed = seed

    def take(self) -> bool:
        """One operation of those still to do; False when all are done."""
        self._left -= 1
        return self._left >= 0

    async def run(self) -> Record:
        accounts = self.place.accounts
        for account in accounts:
            client = await self.place.login(account)
            await client.command(b"CREATE " + FOLDER.encode())
            client.close()
        beside = [asyncio.ensure_future(self._sample()), asyncio.ensure_future(self._probe())]  # noqa: TID251
        readers = [Reader(self, accounts[n % len(accounts)], self._seed + n).run() for n in range(READERS)]
        try:
            await asyncio.gather(*readers, *(self._deliver() for _ in range(DELIVERERS)))
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        return self.record

    async def _deliver(self) -> None:
        client: LmtpClient | None = None
        while self.take():
            size = self.place.random.choices((0, 100_000, 2_000_000), (95, 4, 1))[0]
            mail = self.place.mails.large(size) if size else self.place.mails.small()
            to = self.place.random.sample(self.place.accounts, self.place.random.choice((1, 1, 1, 2)))
            try:
                if client is None:
                    (client,) = await self.place.lmtp(1)
                name = "deliver" if not size else f"deliver {size // 1000} KB"
                await self.record.timed(name, client.deliver(mail, *(account.address for account in to)))
            except Exception as error:
                self.record.errors.append(f"deliver: {type(error).__name__}: {error}"[:300])
                client = None
        if client is not None:
            client.close()

    async def _sample(self) -> None:
        while True:
            self.record.memory.append(memory(self.place.server.pids))
            self.record.databases.append(memory(self.place.server.pids, databases=True))
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _probe(self) -> None:
        """A client that does nothing else: its waits are those of everybody."""
        client = await self.place.login(self.place.FULL)
        while True:
            await self.record.timed("probe", client.command(b"NOOP"))
            await asyncio.sleep(PROBE_SECONDS)


async def soak(seed: int, count: int, folder: Path | None) -> Record:
    data = new_folder("soak", folder)
    server = Duckmail(data)
    try:
        await server.start()
        place = Place(server, Sizes(accounts=4, warm_up=0), seed)
        await place.prepare()
        record = await Soak(place, count, seed).run()
        checked = await asyncio.to_thread(server.fsck)
        record.fsck, record.fsck_status = checked.stdout.strip()[-2000:], checked.returncode
        return record
    finally:
        await server.stop()
        remove_folder(data)


def figures(record: Record, seed: int, count: int, seconds: float) -> dict[str, Any]:
    """For JSON; times in milliseconds, memory in octets."""
    return {
        "seed": seed,
        "count": count,
        "seconds": round(seconds, 1),
        "operations": {
            name: {
                "count": len(values),
                **{f"p{share}": round(1000 * percentile(values, share / 100), 1) for share in (50, 95, 99)},
                "max": round(1000 * max(values), 1),
            }
            for name, values in sorted(record.latencies.items())
        },
        "errors": record.errors[:20],
        "memory": {
            "first": record.memory[0] if record.memory else 0,
            "last": record.memory[-1] if record.memory else 0,
            "highest": max(record.memory, default=0),
            "growth": record.growth,
            "databases highest": max(record.databases, default=0),
        },
        "fsck": record.fsck,
        "broken": record.broken,
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1000, help="operations in all (default: 1000)")
    parser.add_argument("--folder", type=Path, default=None, help="where data goes (default: the temporary folder)")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here")
    args = parser.parse_args(argv)
    begun = time.monotonic()
    record = loop.run(soak(args.seed, args.count, args.folder))
    found = figures(record, args.seed, args.count, time.monotonic() - begun)
    text = json.dumps(found, indent=2)
    print(text)
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(text + "\n")
    for reason in record.broken:
        print(f"BROKEN: {reason}", file=sys.stderr)
    return 1 if record.broken else 0


if __name__ == "__main__":
    sys.exit(main())
