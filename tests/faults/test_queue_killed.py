"""Runners are killed while they send: every message ends as it should, doubled only where SMTP itself doubles."""

import asyncio
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from duckmail.model.queue import State
from tests.support.outbound import Outbound, World, outbound
from tests.support.stores import message

MESSAGES = 60
KILLS = 6
PROCESSES = 2


class Ledger:
    """What other servers do: they take, defer and refuse by the recipient's name, and note what they took."""

    def __init__(self) -> None:
        self.taken: Counter[tuple[str, str]] = Counter()  # (subject, recipient)
        self.answered: Counter[tuple[str, str]] = Counter()
        self.seen: Counter[tuple[str, str]] = Counter()
        self._random = random.Random(1)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = (await reader.readline()).decode().split()
            if len(line) != 4:
                return
            _, _, subject, names = line
            await asyncio.sleep(self._random.random() * 0.02)
            codes = []
            for name in names.split(","):
                self.seen[subject, name] += 1
                code = self._answer(subject, name)
                codes.append(code)
                if code == "250":
                    self.taken[subject, name] += 1
            writer.write((" ".join(codes) + "\n").encode())
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    def _answer(self, subject: str, name: str) -> str:
        if name.startswith("refused"):
            return "550"
        if name.startswith("deferred") and self.seen[subject, name] < 3:
            return "451"
        return "250"


class Process:
    def __init__(self, *words: str) -> None:
        self._words = words
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        command = (sys.executable, "-m", "tests.support.outbound_process", *self._words)
        self._process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert self._process.stdout is not None
        assert await self._process.stdout.readline() == b"running\n"

    async def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()


@pytest.fixture
async def one(mongo_uri: str, database_name: str) -> AsyncIterator[Outbound]:
    async with outbound(mongo_uri, database_name, World(), start=False, slot="look") as running:
        yield running


@pytest.mark.timeout(900)
async def test_every_message_ends_whoever_is_killed(one: Outbound, mongo_uri: str, database_name: str) -> None:
    anna, bert = await one.account("anna"), await one.account("bert")
    ledger = Ledger()
    server = await asyncio.start_server(ledger.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    processes = [Process(mongo_uri, database_name, f"slot{number}", str(port)) for number in range(PROCESSES)]
    for process in processes:
        await process.start()
    names = ("c@far.test", "deferred@far.test", "refused@far.test", "bert@example.com")
    chosen = random.Random(2)
    for number in range(MESSAGES):
        await one.submit(*names, raw=message(number))
        if number % (MESSAGES // KILLS) == MESSAGES // KILLS - 1:
            victim = chosen.choice(processes)
            await victim.kill()
            await victim.start()
    async with asyncio.timeout(120):
        while [each async for each in one.queue.messages()]:
            await asyncio.sleep(0.1)
    for process in processes:
        await process.kill()
    server.close()

    ended = [each async for each in one.queue.messages(ended=True)]
    states = [tuple(each.state for each in message.recipients) for message in ended if len(message.recipients) == 4]
    assert states == [(State.RELAYED, State.RELAYED, State.FAILED, State.DELIVERED)] * MESSAGES
    # One report for each message, and bert has each once.
    assert len(await one.inbox(anna)) == MESSAGES
    assert len(await one.inbox(bert)) == MESSAGES
    taken = {subject: ledger.taken[f"number-{subject}", "c@far.test"] for subject in range(MESSAGES)}
    assert min(taken.values()) == 1
    doubled = sum(count - 1 for count in ledger.taken.values())
    print(f"{doubled} doubled of {len(ledger.taken)}, {KILLS} kills")
    # Each kill can hit no more than what that process had in flight: its transactions with the one host.
    assert doubled <= KILLS * 5 * 2
