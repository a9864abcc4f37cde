"""Redis stopped, killed or frozen: mail, logins and pushes between two processes go on (P5)."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator

import pytest

from tests.faults.rig import HOST, PASSWORD, Rig, rig
from tests.faults.wire import Exists, Fetched, Imap, events, imap, lmtp, ok

PUSH_SECONDS = 3.0  # polling looks every 2 s
PROMPT_SECONDS = 0.5  # what Redis, or the same process, brings; a pause of the machine included


def mail(number: str) -> bytes:
    return f"From: a@b.example\r\nMessage-ID: <{number}@b.example>\r\nSubject: {number}\r\n\r\nhello\r\n".encode()


async def heard(client: Imap, wanted: type) -> float:
    """Seconds until an idling client is told such a thing."""
    begun = time.monotonic()
    while True:
        response = await client.response(PUSH_SECONDS + 5)
        if any(isinstance(event, wanted) for event in events([response])):
            return time.monotonic() - begun


async def round_trip(servers: Rig, label: str) -> dict[str, float]:
    """Everything that Redis has a part in, between two processes; how long each took, in seconds."""
    one, two = servers.serves[0], servers.serves[-1]
    took: dict[str, float] = {}
    begun = time.monotonic()
    async with imap(one.imap, "anna", PASSWORD) as near, imap(two.imap, "anna", PASSWORD) as far:
        took["two logins"] = time.monotonic() - begun
        async with imap(one.imap) as nobody:
            refused = await nobody.command("LOGIN anna wrong")
        assert refused.status == "NO"
        assert "AUTHENTICATIONFAILED" in refused.text
        for client in (near, far):
            await ok(client, "SELECT INBOX")
            await client.idle()
        begun = time.monotonic()
        async with lmtp(one.lmtp) as relay:
            outcome = await relay.deliver("a@b.example", [f"anna@{HOST}", f"bert@{HOST}"], mail(label))
        took["delivery"] = time.monotonic() - begun
        assert [code for code, _ in outcome.values()] == [250, 250]
        took["push in the same process"], took["push to the other"] = await asyncio.gather(
            heard(near, Exists), heard(far, Exists)
        )
        await near.done()
        begun = time.monotonic()
        await ok(near, "STORE * +FLAGS (\\Flagged)")
        took["store"] = time.monotonic() - begun
        took["store seen by the other"] = await heard(far, Fetched)
        await far.done()
        await ok(near, "STORE * +FLAGS (\\Answered)")
        told = events((await ok(far, "NOOP")).untagged)
        assert any(isinstance(event, Fetched) and "\\answered" in (event.flags or ()) for event in told)
    print(label, {what: round(seconds, 3) for what, seconds in took.items()})
    return took


def check(took: dict[str, float], push: float) -> None:
    assert took["push to the other"] < push
    assert took["store seen by the other"] < push
    assert took["push in the same process"] < PROMPT_SECONDS
    assert took["delivery"] < 2
    assert took["store"] < 2
    assert took["two logins"] < 4


@pytest.fixture(scope="module")
async def servers() -> AsyncIterator[Rig]:
    async with rig(2) as running:
        yield running


async def test_stopped_for_the_whole_run() -> None:
    async with rig(2, redis=False) as running:
        for number in range(2):
            check(await round_trip(running, f"never-{number}"), PUSH_SECONDS)


async def test_with_redis_nobody_waits_for_the_poll(servers: Rig) -> None:
    check(await round_trip(servers, "with"), PROMPT_SECONDS)


async def test_killed_in_the_middle_and_back(servers: Rig) -> None:
    check(await round_trip(servers, "before"), PROMPT_SECONDS)
    os.kill(servers.valkey.child.pid, signal.SIGKILL)
    while servers.valkey.child.status() is None:
        await asyncio.sleep(0.01)
    check(await round_trip(servers, "gone"), PUSH_SECONDS)
    await servers.valkey.start()
    await asyncio.sleep(3)  # a reconnect is tried every second
    check(await round_trip(servers, "back"), PROMPT_SECONDS)


async def test_frozen_in_the_middle(servers: Rig) -> None:
    """It takes connections and never answers: worse than gone."""
    os.kill(servers.valkey.child.pid, signal.SIGSTOP)
    try:
        check(await round_trip(servers, "frozen"), PUSH_SECONDS)
    finally:
        os.kill(servers.valkey.child.pid, signal.SIGCONT)
