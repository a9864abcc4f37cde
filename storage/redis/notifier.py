"""Tells other processes that a mailbox or an account changed, and hears it from them.

A hint only: losing one costs the delay until the next poll (`ViewCache.poll`), never correctness. Publishing goes
through a bounded queue that drops the oldest; nothing waits for it. The channel is the user's; a process subscribes
for the owners of the mailboxes it has open and looks at everything after a reconnect.

A process that is alone says nothing of mailboxes: that would be a call of Redis for each delivery. It tells all when it
comes, and now and then, that it is there; Redis answers how many heard it.
"""

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Callable

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from storage.views import Delta

log = logging.getLogger("duckmail.storage")

QUEUE = 10_000
RECONNECT_SECONDS = 1.0
COUNT_SECONDS = 5.0  # between two times that it tells so
_ACCOUNT = "account"  # in place of a mailbox
_HERE = "here"  # on the channel of all

Changed = Callable[[str, str, int], None]  # user, mailbox, modseq


class Notifier:
    """`origin` marks our own messages, which are not news to us."""

    def __init__(self, commands: Redis, subscriber: Redis, prefix: str, origin: str) -> None:
        self._commands = commands
        self._subscriber = subscriber
        self._prefix = prefix
        self._origin = origin
        self._outbox: deque[tuple[str, str]] = deque(maxlen=QUEUE)
        self._outgoing = asyncio.Event()
        self._watched: Counter[str] = Counter()
        self._resubscribe = asyncio.Event()
        self._alone = False  # as far as is known; in doubt not
        self._others = 0  # times that another process was heard to be there
        self.changed: Changed = lambda _user, _mailbox, _modseq: None
        self.account_changed: Callable[[str], None] = lambda _user: None
        self.reconnected: Callable[[], None] = lambda: None

    def publish(self, delta: Delta) -> None:
        """Queues the news of a committed change; returns at once."""
        if self._alone:
            return
        mailbox = delta.mailbox
        self._outbox.append((self._channel(mailbox.user), f"{self._origin} {mailbox.id} {mailbox.modseq}"))
        self._outgoing.set()

    def publish_account(self, user: str) -> None:
        """Queues the news that what the sessions of an account depend on has changed; returns at once."""
        self._outbox.append((self._channel(user), f"{self._origin} {_ACCOUNT}"))
        self._outgoing.set()

    def watch(self, user: str) -> None:
        self._watched[user] += 1
        if self._watched[user] == 1:
            self._resubscribe.set()

    def unwatch(self, user: str) -> None:
        self._watched[user] -= 1
        if self._watched[user] <= 0:
            del self._watched[user]
            self._resubscribe.set()

    def _channel(self, user: str) -> str:
        return f"{self._prefix}u:{user}"

    @property
    def _all(self) -> str:
        """The channel that every process listens on."""
        return f"{self._prefix}all"

    async def send(self) -> None:
        """Publishes what is queued, in pipelines; until cancelled."""
        while True:
            await self._outgoing.wait()
            self._outgoing.clear()
            while self._outbox:
                pipeline = self._commands.pipeline(transaction=False)
                for _ in range(min(100, len(self._outbox))):
                    pipeline.publish(*self._outbox.popleft())
                try:
                    await pipeline.execute()
                except (RedisError, OSError) as error:
                    log.debug("publish failed", extra={"fields": {"error": type(error).__name__}})
                    self._outbox.clear()
                    await asyncio.sleep(RECONNECT_SECONDS)
                if _cancelled():
                    return

    async def listen(self) -> None:
        """Hears from other processes; reconnects for ever; until cancelled."""
        down = False
        while True:
            try:
                async with self._subscriber.pubsub(ignore_subscribe_messages=True) as pubsub:
                    # Before anybody looks at the database again: a change from now on is heard.
                    subscribed = {self._channel(user) for user in self._watched}
                    await pubsub.subscribe(self._all, *subscribed)
                    await self._tell_here()
                    if _cancelled():
                        return
                    if down:
                        log.info("Redis is back")
                    down = False
                    self.reconnected()
                    await self._serve(pubsub, subscribed)
            except (RedisError, OSError, TimeoutError) as error:
                if not down:
                    log.warning("Redis is gone: polling", extra={"fields": {"error": type(error).__name__}})
                down = True
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _serve(self, pubsub: PubSub, subscribed: set[str]) -> None:
        self._resubscribe.set()
        try:
            async with asyncio.TaskGroup() as tasks:  # owns both: they end with the subscription
                tasks.create_task(self._keep_subscribed(pubsub, subscribed))
                tasks.create_task(self._keep_count())
                async for message in pubsub.listen():
                    self._hear(message)
                raise ConnectionError("the subscription ended")
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            self._alone = False  # who comes now is not heard

    async def _tell_here(self) -> None:
        """To all; finds out whether this process is alone. Raises: RedisError, OSError."""
        known = self._others
        try:
            listeners = await self._commands.publish(self._all, f"{self._origin} {_HERE}")
        except (RedisError, OSError):
            self._alone = False
            raise
        # The answer may be older than what was heard meanwhile.
        self._alone = listeners == 1 and self._others == known

    async def _keep_count(self) -> None:
        """Tells it again and again; until cancelled."""
        while not _cancelled():
            await asyncio.sleep(COUNT_SECONDS)
            with contextlib.suppress(RedisError, OSError):
                await self._tell_here()

    async def _keep_subscribed(self, pubsub: PubSub, subscribed: set[str]) -> None:
        while True:
            await self._resubscribe.wait()
            self._resubscribe.clear()
            wanted = {self._channel(user) for user in self._watched}
            added, dropped = wanted - subscribed, subscribed - wanted
            subscribed.clear()
            subscribed.update(wanted)
            if added:
                await pubsub.subscribe(*added)
            if dropped:
                await pubsub.unsubscribe(*dropped)

    def _hear(self, message: dict[str, object]) -> None:
        channel, data = message.get("channel"), message.get("data")
        if not isinstance(channel, bytes) or not isinstance(data, bytes):
            return
        with contextlib.suppress(ValueError, UnicodeDecodeError):
            user = channel.decode("ascii").removeprefix(f"{self._prefix}u:")
            origin, what, *modseq = data.decode("ascii").split(" ")
            if origin == self._origin:
                return
            if what == _HERE:
                self._others += 1
                self._alone = False
            elif what == _ACCOUNT:
                self.account_changed(user)
            else:
                self.changed(user, what, int(*modseq))


def _cancelled() -> bool:
    """redis-py loses a cancellation that comes in the middle of a command: nobody would cancel the task again."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
