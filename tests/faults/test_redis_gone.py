"""Redis stopped, killed or frozen: mail, logins and pushes between two processes go on (P5).

Nothing here is measured: what Redis has to bring is proved by servers that never poll, what must come without it by
servers that do. Whoever waits for a Redis that does not answer waits for ever.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from tests.faults.rig import HOST, PASSWORD, Rig, rig
from tests.faults.wire import Exists, Fetched, Imap, events, imap, lmtp, ok
from tests.support.waiting import subscribers, until

SECONDS = 60.0  # polling looks every 2
NO_POLLS = "from storage import viewcache; viewcache.POLL_SECONDS = 3600.0"


def mail(number: str) -> bytes:
    return f"From: a@b.example\r\nMessage-ID: <{number}@b.example>\r\nSubject: {number}\r\n\r\nhello\r\n".encode()


async def heard(client: Imap, wanted: type) -> None:
    """Returns when an idling client is told such a thing."""
    while not any(isinstance(event, wanted) for event in events([await client.response(SECONDS)])):
        pass


async def round_trip(servers: Rig, label: str, *, pushed: bool = True, subscribed: bool = False) -> None:
    """Everything that Redis has a part in, between two processes.

    Args:
        pushed: the other one is told of it unasked.
        subscribed: by Redis, to which both have to speak first.
    """
    one, two = servers.serves[0], servers.serves[-1]
    async with imap(one.imap, "anna", PASSWORD) as near, imap(two.imap, "anna", PASSWORD) as far:
        async with imap(one.imap) as nobody:
            refused = await nobody.command("LOGIN anna wrong")
        assert refused.status == "NO"
        assert "AUTHENTICATIONFAILED" in refused.text
        for client in (near, far):
            await ok(client, "SELECT INBOX")
            await client.idle()
        if subscribed:
            await until(lambda: subscribers(servers.valkey.url) == 2, SECONDS)
        async with lmtp(one.lmtp) as relay:
            outcome = await relay.deliver("a@b.example", [f"anna@{HOST}", f"bert@{HOST}"], mail(label))
        assert [code for code, _ in outcome.values()] == [250, 250]
        await heard(near, Exists)
        if pushed:
            await heard(far, Exists)
        await near.done()
        await ok(near, "STORE * +FLAGS (\\Flagged)")
        if pushed:
            await heard(far, Fetched)
        await far.done()
        await ok(near, "STORE * +FLAGS (\\Answered)")
        told = events((await ok(far, "NOOP")).untagged)
        if pushed:
            assert any(isinstance(event, Fetched) and "\\answered" in (event.flags or ()) for event in told)
        else:
            assert any(isinstance(event, Exists) for event in told)


async def killed(servers: Rig) -> None:
    os.kill(servers.valkey.child.pid, signal.SIGKILL)
    while servers.valkey.child.status() is None:
        await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
async def polling() -> AsyncIterator[Rig]:
    async with rig(2) as running:
        yield running


async def test_stopped_for_the_whole_run() -> None:
    async with rig(2, redis=False) as running:
        for number in range(2):
            await round_trip(running, f"never-{number}")


async def test_killed_in_the_middle(polling: Rig) -> None:
    await round_trip(polling, "before")
    await killed(polling)
    try:
        await round_trip(polling, "gone")
    finally:
        await polling.valkey.start()


async def test_frozen_in_the_middle(polling: Rig) -> None:
    """It takes connections and never answers: worse than gone."""
    os.kill(polling.valkey.child.pid, signal.SIGSTOP)
    try:
        await round_trip(polling, "frozen")
    finally:
        os.kill(polling.valkey.child.pid, signal.SIGCONT)


async def test_with_redis_nobody_waits_for_the_poll_nor_within_a_process_without() -> None:
    async with rig(2, first=NO_POLLS) as running:
        await round_trip(running, "with", subscribed=True)
        await killed(running)
        await round_trip(running, "gone", pushed=False)
        await running.valkey.start()
        await round_trip(running, "back", subscribed=True)
