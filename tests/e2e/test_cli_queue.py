"""`duckmail queue`: its words and its exit status, on a database that others use."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from duckmail.model.queue import State
from tests.support.commands import duckmail
from tests.support.outbound import Outbound, World, outbound
from tests.support.stores import message

Queue = Callable[..., Awaitable[subprocess.CompletedProcess[str]]]


@pytest.fixture
async def idle(mongo_uri: str, database_name: str) -> AsyncIterator[Outbound]:
    async with outbound(mongo_uri, database_name, World(), start=False) as one:
        yield one


@pytest.fixture
def queue(mongo_uri: str, database_name: str, tmp_path: Path) -> Queue:
    file = tmp_path / "duckmail.toml"
    file.write_text(
        f'[server]\nhostname = "mx.example.com"\n[mongo]\nuri = "{mongo_uri}"\ndatabase = "{database_name}"\n'
        '[redis]\nurl = "none"\n'
    )

    async def run(*words: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(duckmail, "queue", *words, "--config", str(file))

    return run


async def deferred(idle: Outbound) -> str:
    """A message to three: one has it, one was deferred, one's domain has no route."""
    identifier = await idle.submit("c@far.test", "d\u202e@far.test", "e@away.test")
    claim = await idle.store.queue.claim_one(identifier, "test")
    now = datetime.now(UTC)
    c, d, e = (replace(each, attempts=1, tried=now) for each in claim.message.recipients)
    changed = [
        replace(c, state=State.RELAYED, reply="250 ok", status="2.0.0", host="mx.far.test", due=None),
        replace(
            d, reply="451 4.3.0 \x1b[2J\x07Later", status="4.3.0", host="mx.far.test", due=now + timedelta(hours=2)
        ),
        replace(e, reply="no route", status="4.4.4", due=None, attempts=0, tried=None),
    ]
    await idle.store.queue.finish(claim, changed, range(3))
    return identifier


async def test_a_queue_is_listed_and_shown(idle: Outbound, queue: Queue) -> None:
    assert (await queue("list")).stdout == "the queue is empty\n"
    identifier = await deferred(idle)
    listed = await queue("list")
    assert (listed.returncode, listed.stderr) == (0, "")
    line, total = listed.stdout.splitlines()
    assert line.startswith(f"{identifier}  ")
    assert line.endswith("1 relayed, 2 waiting, next attempt in 1 h")
    assert "anna@example.com" in line
    assert "c@far.test and 2 more" in line
    assert total == f"1 messages, {len(message(1))} octets"
    shown = (await queue("show", identifier)).stdout
    assert "\x1b" not in shown
    assert "\x07" not in shown
    for words in (
        f"message     {identifier} (next attempt in 1 h)",
        "to          c@far.test\nstate       relayed 2.0.0, 1 attempts\nsaid        250 ok (mx.far.test)\n",
        "to          d\\u202e@far.test\nstate       waiting 4.3.0, 1 attempts\n",
        "said        451 4.3.0 \\x1b[2J\\x07Later (mx.far.test)\n",
        "to          e@away.test\nstate       waiting 4.4.4, 0 attempts\nsaid        no route\n",
    ):
        assert words in shown


async def test_for_programs(idle: Outbound, queue: Queue) -> None:
    identifier = await deferred(idle)
    (line,) = (await queue("list", "--json")).stdout.splitlines()
    found = json.loads(line)
    assert found == json.loads((await queue("show", identifier, "--json")).stdout)
    assert (found["id"], found["sender"], found["ended"]) == (identifier, "anna@example.com", None)
    states = [(each["address"], each["state"], each["attempts"]) for each in found["recipients"]]
    assert states[0] == ("c@far.test", "relayed", 1)
    assert found["recipients"][2]["due"] is None
    assert found["recipients"][2]["notify"] == ["failure", "delay"]


async def test_hold_release_and_retry(idle: Outbound, queue: Queue) -> None:
    identifier = await deferred(idle)
    assert (await queue("hold", identifier)).stdout == f"{identifier} is held\n"
    assert (await queue("list")).stdout.splitlines()[0].endswith(", held")
    assert (await queue("retry", identifier)).stdout == f"{identifier} will be tried when it is released: it is held\n"
    assert (await queue("release", identifier)).stdout == f"{identifier} is not held\n"
    assert (await queue("release", identifier)).stdout == f"{identifier} is not held, and was not\n"
    assert (await queue("retry", "all")).stdout == "1 messages will be tried now\n"
    assert (await queue("list")).stdout.splitlines()[0].endswith("2 waiting, due")
    (claim,) = await idle.store.queue.claim("test", 1)
    busy = await queue("retry", identifier)
    assert (busy.returncode, busy.stderr) == (1, f"duckmail: {identifier} is being sent right now\n")
    assert (await queue("list")).stdout.splitlines()[0].endswith(", being sent")
    removed = await queue("remove", identifier)
    assert (removed.returncode, removed.stderr) == (1, "duckmail: The message is being sent right now\n")
    await idle.store.queue.give_back([claim])


@pytest.mark.parametrize("notify", [False, True], ids=["silently", "with-a-report"])
async def test_remove(idle: Outbound, queue: Queue, notify: bool) -> None:
    identifier = await deferred(idle)
    removed = await queue("remove", identifier, *(["--notify"] if notify else []))
    assert removed.stdout == f"{identifier} is removed; 2 recipients will not get it\n"
    again = await queue("remove", identifier)
    assert again.returncode == 1
    assert (
        again.stderr
        == f"duckmail: {identifier} is at its end; `duckmail queue show {identifier}` tells what became of it\n"
    )
    lines = (await queue("list", "--all")).stdout.splitlines()
    assert len(lines) == 2 + notify
    # Two of the same second, made by two processes, are in no order.
    ended = next(line for line in lines if line.startswith(identifier))
    assert f"1 relayed, 2 {'failed' if notify else 'removed'}, ended " in ended
    assert not notify or any("<>" in line for line in lines)


@pytest.mark.parametrize("identifier", ["nothing", "0" * 24])
@pytest.mark.parametrize("action", ["show", "hold", "release", "retry", "remove"])
async def test_what_is_not_there(queue: Queue, action: str, identifier: str) -> None:
    found = await queue(action, identifier)
    assert found.returncode == 1
    assert found.stderr == f"duckmail: There is no message {identifier} in the queue\n"
