"""MongoDB stands still, or is away for a while, and clients hang up meanwhile: everybody gets an answer in time, and
when it is back all goes on."""

import asyncio
import os
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable

import pytest

from duckmail.errors import TemporaryError
from duckmail.model.account import NO_QUOTA, Principal
from duckmail.model.message import FlagChange, FlagOperation, NewMessage
from duckmail.model.ranges import Ranges
from duckmail.services.mail import Mail
from storage import committer, groups
from storage.embedded.folders import make_socket_folder
from storage.embedded.mongod import Mongod
from storage.fsck import check
from storage.mongo import transactions
from storage.store import Store
from storage.views import View
from tests.support.servers import new_data_folder
from tests.support.stores import Ears, message, new_account, open_store, put

ALL = Ranges(((1, 4_294_967_295),))


@pytest.fixture
async def mongod() -> AsyncIterator[Mongod]:
    data = new_data_folder()
    server = Mongod(data / "mongod", make_socket_folder(data))
    await server.start()
    try:
        yield server
    finally:
        server.child.send(signal.SIGCONT)
        await server.stop()
        shutil.rmtree(data, ignore_errors=True)


async def ending(work: Awaitable[object]) -> tuple[str, float]:
    """How it ended, and after how many seconds."""
    begun = time.monotonic()
    try:
        await work
    except TemporaryError as error:
        return type(error).__name__, time.monotonic() - begun
    return "done", time.monotonic() - begun


def changes(
    mail: Mail, store: Store, principal: Principal, contents: list[NewMessage], view: View
) -> list[Awaitable[object]]:
    flags = [FlagChange(FlagOperation.ADD, (f"flag{number}",)) for number in range(20)]
    appends = [store.append(principal.user, view.mailbox.id, [content], NO_QUOTA) for content in contents]
    return [*appends, *(mail.store_flags(view, ALL, change) for change in flags), mail.subscribe("INBOX", True)]


async def test_nobody_waits_long_while_it_stands_still(mongod: Mongod, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many changes of one mailbox, each waiting for the one before: all end within the time of a few. The times of all
    of them together would be 160 s."""
    monkeypatch.setattr(transactions, "ATTEMPT_SECONDS", 2.0)
    monkeypatch.setattr(committer, "DEADLINE_SECONDS", 4.0)
    monkeypatch.setattr(transactions, "DEADLINE_SECONDS", 4.0)
    monkeypatch.setattr(transactions, "COMMIT_SECONDS", 3.0)
    monkeypatch.setattr(groups, "QUEUE_SECONDS", 5.0)
    async with open_store(mongod.uri, "stuck") as store:
        principal = await new_account(store)
        mail = Mail(store, principal)
        await put(mail, "INBOX", range(3))
        view = await mail.open("INBOX", Ears())
        contents = [NewMessage(await mail.prepare(message(number))) for number in range(20)]
        mongod.child.send(signal.SIGSTOP)
        outcomes = await asyncio.gather(*map(ending, changes(mail, store, principal, contents, view)))
        mongod.child.send(signal.SIGCONT)
        assert {outcome for outcome, _ in outcomes} <= {"Unavailable", "CommitUnknown"}
        assert max(seconds for _, seconds in outcomes) < 60
        async with asyncio.timeout(60):
            while (await ending(put(mail, "INBOX", [9])))[0] != "done":
                await asyncio.sleep(0.1)
        await mail.sync(view)
        assert len(view.uids) == (await mail.mailbox("INBOX")).messages
        assert await check(store) == []


async def test_a_process_can_end_while_it_stands_still(mongod: Mongod) -> None:
    opened = open_store(mongod.uri, "stuck")
    store = await opened.__aenter__()
    principal = await new_account(store)
    inbox = await store.mailboxes.by_path(principal.user, "INBOX")
    content = NewMessage(await store.contents.prepare(message(1)))
    mongod.child.send(signal.SIGSTOP)
    work = store.append(principal.user, inbox.id, [content], NO_QUOTA)
    writing = asyncio.get_running_loop().create_task(ending(work))
    await asyncio.sleep(0.5)
    async with asyncio.timeout(60):
        await opened.__aexit__(None, None, None)
    assert (await writing)[0] in ("Unavailable", "CommitUnknown")


async def test_those_who_hang_up_while_it_is_away_harm_nobody(mongod: Mongod) -> None:
    chance = random.Random(6)
    loop = asyncio.get_running_loop()
    async with open_store(mongod.uri, "away") as store:
        principal = await new_account(store)
        mail = Mail(store, principal)
        view = await mail.open("INBOX", Ears())
        await put(mail, "INBOX", range(3))
        content = NewMessage(await mail.prepare(message(7)))
        os.kill(mongod.child.pid, signal.SIGKILL)
        while mongod.child.status() is None:
            await asyncio.sleep(0.01)
        end = loop.time() + 4

        async def client() -> None:
            while loop.time() < end:
                work = chance.choice(
                    (
                        mail.mailboxes,
                        lambda: mail.sync(view),
                        lambda: store.append(principal.user, view.mailbox.id, [content], NO_QUOTA),
                        lambda: mail.subscribe("INBOX", True),
                        lambda: mail.store_flags(view, ALL, FlagChange(FlagOperation.ADD, ("\\Seen",))),
                    )
                )
                task = loop.create_task(work())
                for _ in range(2):
                    await asyncio.sleep(chance.random() * 0.8)
                    task.cancel()
                await asyncio.wait([task])

        await asyncio.gather(*(client() for _ in range(40)))
        await mongod.start()
        async with asyncio.timeout(90):  # what they had asked for ends by itself
            while (await ending(put(mail, "INBOX", [9])))[0] != "done":
                await asyncio.sleep(0.1)
        async with asyncio.timeout(60):
            await asyncio.gather(*(mail.mailboxes() for _ in range(64)))
            await asyncio.gather(*(mail.subscribe("INBOX", True) for _ in range(5)))
        await mail.sync(view)
        assert len(view.uids) == (await mail.mailbox("INBOX")).messages >= 4
        assert await check(store) == []
