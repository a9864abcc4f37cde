"""How a process hears of changes that others made: from Redis, after a reconnect, and without Redis."""

import asyncio
import random
from contextlib import asynccontextmanager

import pytest
import redis

from duckmail.services.mail import Mail
from storage.store import Store
from tests.support.stores import Ears, new_account, open_store, put
from tests.support.waiting import until


def without_polling(store: Store) -> None:
    next(task for task in store.tasks._running if task.get_name().endswith(":poll")).cancel()


def subscribed(redis_url: str, store: Store) -> set[str]:
    """The users whose channels anybody listens to, of this database."""
    assert store.notifier is not None
    prefix = store.notifier._channel("")
    with redis.Redis.from_url(redis_url) as client:
        return {name.decode().removeprefix(prefix) for name in client.pubsub_channels(prefix + "*")}


@asynccontextmanager
async def two(mongo_uri: str, database_name: str, redis_url: str | None):  # noqa: ANN201
    async with (
        open_store(mongo_uri, database_name, redis_url, slot="one") as one,
        open_store(mongo_uri, database_name, redis_url, slot="two") as other,
    ):
        yield one, other


async def test_redis_brings_it_at_once(mongo_uri: str, database_name: str, redis_url: str) -> None:
    async with two(mongo_uri, database_name, redis_url) as (here, there):
        without_polling(there)
        principal = await new_account(here)
        view = await Mail(there, principal).open("INBOX", Ears())
        await until(lambda: principal.user in subscribed(redis_url, there))
        await put(Mail(here, principal), "INBOX", [1])
        await until(lambda: len(view.uids) == 1)


async def test_what_redis_lost_is_looked_up_after_a_reconnect(
    mongo_uri: str, database_name: str, redis_url: str
) -> None:
    async with two(mongo_uri, database_name, redis_url) as (here, there):
        without_polling(there)
        principal = await new_account(here)
        mail = Mail(here, principal)
        view = await Mail(there, principal).open("INBOX", Ears())
        await until(lambda: principal.user in subscribed(redis_url, there))
        with redis.Redis.from_url(redis_url) as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await put(mail, "INBOX", [1])
        await until(lambda: len(view.uids) == 1)
        await until(lambda: principal.user in subscribed(redis_url, there))
        await put(mail, "INBOX", [2])
        await until(lambda: len(view.uids) == 2)


@pytest.mark.parametrize("redis_there", [False, True], ids=["no-redis", "redis-that-tells-nothing"])
async def test_polling_finds_it(mongo_uri: str, database_name: str, redis_url: str, redis_there: bool) -> None:
    async with two(mongo_uri, database_name, redis_url if redis_there else None) as (here, there):
        here.committer.publish = lambda _delta: None
        principal = await new_account(here)
        mail = Mail(here, principal)
        await mail.create("Other")
        views = [await Mail(there, principal).open(path, Ears()) for path in ("INBOX", "Other")]
        await put(mail, "Other", [1])
        await until(lambda: [len(view.uids) for view in views] == [0, 1])
        await mail.delete("Other")
        await until(lambda: views[1].gone)
        await put(mail, "INBOX", [1])
        await until(lambda: len(views[0].uids) == 1)


async def test_subscriptions_are_those_of_the_views_in_use(mongo_uri: str, database_name: str, redis_url: str) -> None:
    """However quickly mailboxes are opened and closed, and when opening one fails."""
    chance = random.Random(5)
    async with open_store(mongo_uri, database_name, redis_url) as store:
        accounts = [await new_account(store, f"user{number}") for number in range(5)]
        inboxes = {one.user: (await store.mailboxes.by_path(one.user, "INBOX")).id for one in accounts}
        held: list[tuple[str, object, Ears]] = []
        for _ in range(150):
            if held and chance.random() < 0.5:
                _, view, ears = held.pop(chance.randrange(len(held)))
                store.views.release(view, ears)  # type: ignore[arg-type]
                continue
            user, ears = chance.choice(accounts).user, Ears()
            opening = asyncio.get_running_loop().create_task(store.views.open(user, inboxes[user], ears))
            if chance.random() < 0.2:
                await asyncio.sleep(0)
                opening.cancel()
                await asyncio.wait([opening])
            if not opening.cancelled():  # `asyncio.wait_for`, which the driver uses, may lose a cancellation
                held.append((user, await opening, ears))
        wanted = {user for user, _, _ in held}
        await until(lambda: subscribed(redis_url, store) == wanted)
        for _, view, ears in held:
            store.views.release(view, ears)  # type: ignore[arg-type]
        await until(lambda: not subscribed(redis_url, store))


async def test_who_is_alone_says_nothing_until_another_comes(
    mongo_uri: str, database_name: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.redis.notifier.COUNT_SECONDS", 0.02)
    async with open_store(mongo_uri, database_name, redis_url, slot="one") as here:
        speaker = here.notifier
        assert speaker is not None
        principal = await new_account(here)
        await until(lambda: speaker._alone)
        with redis.Redis.from_url(redis_url) as client, client.pubsub() as listener:
            listener.subscribe(speaker._channel(principal.user))
            assert listener.get_message(timeout=20) is not None  # of the subscription itself
            await put(Mail(here, principal), "INBOX", [1])
            speaker.publish_account(principal.user)
            told = await asyncio.to_thread(listener.get_message, timeout=20)
            assert told is not None
            assert told["data"].split()[1:] == [b"account"]  # and the message before it was not told
        async with open_store(mongo_uri, database_name, redis_url, slot="two") as there:
            without_polling(there)
            view = await Mail(there, principal).open("INBOX", Ears())
            await until(lambda: principal.user in subscribed(redis_url, there) and not speaker._alone)
            await put(Mail(here, principal), "INBOX", [2])
            await until(lambda: len(view.uids) == 2)
        await until(lambda: speaker._alone)


async def test_who_lost_redis_takes_itself_for_one_of_many(
    mongo_uri: str, database_name: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would not hear who comes."""
    monkeypatch.setattr("storage.redis.notifier.RECONNECT_SECONDS", 0.5)
    async with open_store(mongo_uri, database_name, redis_url) as store:
        speaker = store.notifier
        assert speaker is not None
        await until(lambda: speaker._alone)
        with redis.Redis.from_url(redis_url) as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await until(lambda: not speaker._alone)
        await until(lambda: speaker._alone)
