"""A full outbound queue to many domains: `python -m bench.domains --seed 1 --count 10000 --domains 50 --json FILE`.

Each domain has a mail server of its own on loopback, found by DNS, that takes what it gets as fast as it comes, or one
message in so many seconds (`--pace`). They do not answer until all messages are in the queue. While it drains, memory
is sampled and a client of IMAP asks for NOOP.
Needs root, for port 25 of 127.0.1.1 and so on. Exit status 1 when not all arrive.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from bench.clients.imap import ImapClient
from bench.clients.sink import Sink
from bench.clients.smtp import SmtpClient
from bench.measure import cpu, memory
from bench.runner import percentile
from bench.servers.base import HOST, PASSWORD, Account, new_folder, remove_folder
from bench.servers.duckmail import CONFIG, Duckmail
from bench.work.base import Place, Sizes
from duckmail.runtime import loop
from tests.support.zone_server import zone_server

SMTP_PORT = 25
SUBMITTERS = 8
PROBE_SECONDS = 0.05
SAMPLE_SECONDS = 0.25
QUIET_SECONDS = 3.0  # in which the same is measured without a queue that drains
END_SECONDS = 1800.0


class Figures:
    """`noops`: seconds each; `octets`: of memory, one sample after the other."""

    def __init__(self) -> None:
        self.noops: list[float] = []
        self.octets: list[int] = []

    def told(self) -> dict[str, Any]:
        noops = sorted(self.noops)
        return {
            "noop_ms": {
                "p50": _ms(statistics.median(noops)),
                "p99": _ms(percentile(noops, 0.99)),
                "max": _ms(noops[-1]),
            },
            "memory_mib": {
                "median": round(statistics.median(self.octets) / 2**20),
                "max": round(max(self.octets) / 2**20),
            },
        }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)


async def observed(server: Duckmail, client: ImapClient, until: asyncio.Event) -> Figures:
    """What is seen of the server until the event."""
    found = Figures()

    async def probe() -> None:
        while not until.is_set():
            begun = time.perf_counter()
            await client.command(b"NOOP")
            found.noops.append(time.perf_counter() - begun)
            await asyncio.sleep(PROBE_SECONDS)

    async def sample() -> None:
        while not until.is_set():
            found.octets.append(memory(server.pids))
            await asyncio.sleep(SAMPLE_SECONDS)

    await asyncio.gather(probe(), sample())
    return found


async def quiet(server: Duckmail, client: ImapClient) -> Figures:
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(QUIET_SECONDS, over.set)
    return await observed(server, client, over)


async def submit(server: Duckmail, place: Place, account: Account, recipients: Sequence[str]) -> None:
    async def one(mine: Sequence[str]) -> None:
        client = await SmtpClient.connect(HOST, server.submission)
        await client.login(account.address, PASSWORD)
        for recipient in mine:
            await client.deliver(place.mails.small(sender=account.address), recipient, sender=account.address)
        client.close()

    await asyncio.gather(*(one(recipients[number::SUBMITTERS]) for number in range(SUBMITTERS)))


async def drained(sinks: Sequence[Sink], over: asyncio.Event) -> float:
    """Seconds until the last message was taken. Raises: TimeoutError."""
    begun = time.perf_counter()
    try:
        for sink in sinks:
            sink.resume()
        await asyncio.gather(*(sink.until(sink.due, END_SECONDS) for sink in sinks))
    finally:
        over.set()
    return time.perf_counter() - begun


async def run(seed: int, count: int, domains: int, pace: float, base: Path | None) -> dict[str, Any]:
    zone = "".join(f"d{n}.test. 60 IN MX 10 mx.d{n}.test.\nmx.d{n}.test. 60 IN A {_host(n)}\n" for n in range(domains))
    sinks = [Sink(pace) for _ in range(domains)]
    async with AsyncExitStack() as stack:
        names = await stack.enter_async_context(zone_server(zone))
        for number, sink in enumerate(sinks):
            await sink.start(_host(number), SMTP_PORT)
            stack.callback(sink.stop)
            sink.pause()
            sink.due = len(range(number, count, domains))
        folder = new_folder("domains", base)
        stack.callback(remove_folder, folder)
        outbound = {"mx": True, "mta_sts": False, "nameservers": [names.address], "allow_networks": ["127.0.0.0/8"]}
        server = Duckmail(folder, config={**CONFIG, "outbound": outbound})
        await server.start()
        stack.push_async_callback(server.stop)
        place, account = Place(server, Sizes(), seed), Account("sender")
        await server.add_accounts([account])
        client = await place.login(account)
        before = await quiet(server, client)
        begun = time.perf_counter()
        await submit(server, place, account, [f"n{number}@d{number % domains}.test" for number in range(count)])
        submitted = time.perf_counter() - begun
        over, used = asyncio.Event(), cpu(server.pids)
        during, seconds = await asyncio.gather(observed(server, client, over), drained(sinks, over))
        client.close()
        used = cpu(server.pids) - used
        return {
            "seed": seed,
            "messages": count,
            "domains": domains,
            "submitted_per_second": round(count / submitted),
            "drained_per_second": round(count / seconds, 1),
            "remotes_take_per_second": round(domains / pace, 1) if pace else "all that comes",
            "processor_ms_per_message": {
                "server": _ms(used.server / count),
                "database": _ms(used.database / count),
                "remotes": _ms(used.client / count),
            },
            "cores_of_others": round(used.others / seconds, 1),
            "seconds": round(seconds, 2),
            "connections": sum(sink.connections for sink in sinks),
            "before": before.told(),
            "while_it_drains": during.told(),
        }


def _host(number: int) -> str:
    return f"127.0.1.{number + 1}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.domains", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=10_000, help="messages (default: 10000)")
    parser.add_argument("--domains", type=int, default=50, help="at most 250 (default: 50)")
    parser.add_argument("--pace", type=float, default=0.0, help="seconds a message takes each remote (default: 0)")
    parser.add_argument("--folder", type=Path, default=None, help="where data goes (default: the temporary folder)")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here")
    args = parser.parse_args(argv)
    try:
        found = loop.run(run(args.seed, args.count, min(args.domains, 250), args.pace, args.folder))
    except TimeoutError:
        print("BROKEN: not all messages arrived", file=sys.stderr)
        return 1
    text = json.dumps(found, indent=2)
    print(text)
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
