"""`duckmail serve` with its own databases, killed with them: what was acknowledged is there after the restart."""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator

import pytest

from storage.embedded.folders import DataLock
from tests.faults.rig import HOST, PASSWORD, Serve
from tests.faults.wire import LostError, fetched, imap, lmtp, ok
from tests.support.servers import new_data_folder

ROUNDS = 3


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    folder = new_data_folder()
    with DataLock(folder):
        one = Serve(folder, "", "")
        try:
            yield one
        finally:
            if one.alive:
                one.kill()
            shutil.rmtree(folder, ignore_errors=True)


async def add_account(serve: Serve, name: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *serve.command("user", "add", name), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    await process.communicate(f"{PASSWORD}\n".encode())
    assert process.returncode == 0


async def deliver_until_killed(serve: Serve, first: int, taken: list[int]) -> None:
    number = first
    try:
        async with lmtp(serve.lmtp) as relay:
            while True:
                raw = f"Message-ID: <{number}@b.example>\r\nSubject: {number}\r\n\r\nhello\r\n".encode()
                [(code, text)] = (await relay.deliver("a@b.example", [f"anna@{HOST}"], raw)).values()
                assert code == 250, text
                taken.append(number)
                number += 1
    except LostError:
        return


@pytest.mark.timeout(900)
async def test_nothing_acknowledged_is_lost(serve: Serve) -> None:
    chance = random.Random(1)
    taken: list[int] = []
    serve.start()
    await serve.ready()
    await add_account(serve, "anna")
    for number in range(ROUNDS):
        task = asyncio.get_running_loop().create_task(deliver_until_killed(serve, number * 100_000, taken))
        await asyncio.sleep(chance.uniform(0.3, 1.0))
        serve.kill()
        serve.start()
        await task
        seconds = await serve.ready()
        async with imap(serve.imap, "anna", PASSWORD) as client:
            await ok(client, "SELECT INBOX")
            rows = fetched(await ok(client, "UID FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]"))
        there = [int(row.literals[0].split()[1]) for row in rows]
        print(f"ready {seconds:.1f} s after the kill; {len(taken)} acknowledged, {len(there)} there")
        assert len(there) == len(set(there))
        assert set(taken) <= set(there)
        # The last one's answer may have been lost.
        assert len(there) <= len(taken) + number + 1
